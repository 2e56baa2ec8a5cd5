// Blocks of LEN weights and BLOCK half-words, at any half-word alignment.
// Offsets count half-words in the binding, so a u32 offset reaches 8 GiB.

@group(0) @binding(1) var<storage, read> weight: array<u32>;

struct Eight {
    near: vec4f,
    far: vec4f,
}

// Returns the half-word at offset `place`, decoded as f16.
fn half_at(place: u32) -> f32 {
    let two = unpack2x16float(weight[params.weight_start + place / 2]);
    return select(two.x, two.y, (place & 1) == 1);
}

// Returns the 32 bits at offset `place`. If `place` is even, both
// loads read the same word, so nothing past the end is read.
fn word_at(place: u32) -> u32 {
    let at = params.weight_start + place / 2;
    let odd = place & 1;
    let low = weight[at];
    let high = weight[at + odd];
    return select(low, (low >> 16) | (high << 16), odd == 1);
}

fn weight_row(row: u32) -> u32 {
    return row * (params.width / LEN) * BLOCK;
}

// Returns the offset of the block that holds weight `k` of a row.
fn block_at(row: u32, k: u32) -> u32 {
    return weight_row(row) + k / LEN * BLOCK;
}

fn weight8(row: u32, unit: u32) -> Eight {
    return weight8_at(weight_row(row), unit);
}
