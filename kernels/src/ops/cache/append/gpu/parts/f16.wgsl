// A unit is one word of two f16.

const POOL = 1u;

fn append(values: bool, source: u32, to: u32, i: u32) {
    let at = source + 2 * i;
    store(values, to + i, half_bits(element(values, at)) | (half_bits(element(values, at + 1)) << 16));
}
