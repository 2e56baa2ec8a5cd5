// d s[i / 16] q[i] - e m[i / 16] in blocks of 256: sixteen bytes with s and m, 64 bytes of pairs of bits, f16 d, f16 e.
// A block is a whole number of words. A word of pairs holds four weights in each of four pairs, 32 weights apart.

const LEN = 256u;
const BLOCK = 42u;
const FAR = 32u;

fn unit_start(unit: u32) -> u32 {
    return 64 * (unit / 8) + 4 * (unit % 8);
}

// Returns weights `i..i + 4` of the block whose first word is `at`.
fn four(at: u32, i: u32) -> vec4f {
    let word = weight[at + 4 + i / 128 * 8 + i % 32 / 4] >> (i % 128 / 32 * 2);
    let q = vec4f((vec4u(word) >> vec4u(0, 8, 16, 24)) & vec4u(3));
    let scales = (vec2u(weight[at + i / 64] >> (i % 64 / 16 * 8)) >> vec2u(0, 4)) & vec2u(15);
    let sm = unpack2x16float(weight[at + 20]) * vec2f(scales);
    return sm.x * q - sm.y;
}

fn weight4(row: u32, k: u32) -> vec4f {
    return four(params.weight_start + block_at(row, k) / 2, k % 256);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let at = params.weight_start + (place + unit / 32 * BLOCK) / 2;
    let i = unit_start(unit % 32);
    return Eight(four(at, i), four(at, i + FAR));
}
