// d q[i]: f16 d, then 32 signed bytes.

const LEN = 32u;
const BLOCK = 17u;
const FAR = 4u;

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

fn signed_bytes(word: u32) -> vec4f {
    return vec4f(bitcast<vec4i>(vec4u(word << 24, word << 16, word << 8, word)) >> vec4u(24));
}

fn weight4(row: u32, k: u32) -> vec4f {
    let block = block_at(row, k);
    return half_at(block) * signed_bytes(word_at(block + 1 + (k % 32) / 2));
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let block = place + unit / 4 * BLOCK;
    let d = half_at(block);
    let at = block + 1 + 4 * (unit % 4);
    return Eight(d * signed_bytes(word_at(at)), d * signed_bytes(word_at(at + 2)));
}
