// 2^(e - 128) E[q[i]] in blocks of 32 weights and 17 bytes, at any alignment: u8 e, then the nibbles. Offsets count bytes
// in the binding, so a u32 offset reaches 4 GiB.

@group(0) @binding(1) var<storage, read> weight: array<u32>;

const LEN = 32u;
const BLOCK = 17u;

struct Eight {
    near: vec4f,
    far: vec4f,
}

fn weight_row(row: u32) -> u32 {
    return row * (params.width / LEN) * BLOCK;
}

// Returns the offset of the block that holds weight `k` of a row.
fn block_at(row: u32, k: u32) -> u32 {
    return weight_row(row) + k / LEN * BLOCK;
}

// Scales below 2^-126 become 0 or that number; weights below it are 0 on most devices.
fn scale_at(block: u32, j: u32) -> f32 {
    let e = (weight[params.weight_start + block / 4] >> (block % 4 * 8)) & 255;
    return bitcast<f32>((max(e, 1) - 1) << 23);
}

// If the offset is whole words, both loads read the same word, so nothing past the end is read.
fn codes_at(block: u32, word: u32) -> u32 {
    let place = block + 1 + 4 * word;
    let at = params.weight_start + place / 4;
    let shift = place % 4 * 8;
    let low = weight[at] >> shift;
    let high = weight[at + (place % 4 + 3) / 4];
    return select(low, low | (high << ((32 - shift) & 31)), shift > 0);
}

fn weight8(row: u32, unit: u32) -> Eight {
    return weight8_at(weight_row(row), unit);
}
