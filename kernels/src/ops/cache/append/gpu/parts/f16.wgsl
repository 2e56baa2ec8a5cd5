// A unit is one word of two f16.

const POOL = 1u;

fn append(values: bool, token: u32, to: u32, i: u32) {
    let low = half_bits(element(values, token, 2 * i));
    let high = half_bits(element(values, token, 2 * i + 1));
    store(values, to + i, low | (high << 16));
}
