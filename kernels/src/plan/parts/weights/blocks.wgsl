// Blocks of LEN weights, BLOCK half-words, that begin at any half-word. Places count half-words in the binding, which reach 8 GiB.

@group(0) @binding(1) var<storage, read> weight: array<u32>;

struct Eight {
    near: vec4f,
    far: vec4f,
}

// The half-word at `place` as f16.
fn half_at(place: u32) -> f32 {
    let two = unpack2x16float(weight[params.weight_start + place / 2]);
    return select(two.x, two.y, (place & 1) == 1);
}

// The 32 bits from `place`. An even place reads one word twice and nothing behind it.
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

// Where the block of `k` begins.
fn block_at(row: u32, k: u32) -> u32 {
    return weight_row(row) + k / LEN * BLOCK;
}

fn weight8(row: u32, unit: u32) -> Eight {
    return weight8_at(weight_row(row), unit);
}
