// d[i / 16] q[i]: two f32 d, then 32 signed bytes. A block is a whole number of words.

const LEN = 32u;
const BLOCK = 20u;
const FAR = 4u;

fn unit_start(unit: u32) -> u32 {
    return 8 * unit;
}

fn signed_bytes(word: u32) -> vec4f {
    return vec4f(bitcast<vec4i>(vec4u(word << 24, word << 16, word << 8, word)) >> vec4u(24));
}

fn weight4(row: u32, k: u32) -> vec4f {
    let at = params.weight_start + block_at(row, k) / 2;
    return bitcast<f32>(weight[at + k % 32 / 16]) * signed_bytes(weight[at + 2 + k % 32 / 4]);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let at = params.weight_start + (place + unit / 4 * BLOCK) / 2;
    let d = bitcast<f32>(weight[at + unit % 4 / 2]);
    let word = at + 2 + 2 * (unit % 4);
    return Eight(d * signed_bytes(weight[word]), d * signed_bytes(weight[word + 1]));
}
