// d (s[i / 16] - 32) (q[i] - 4) in blocks of 256: 32 bytes whose bit j is the third bit of 32 weights, 64 bytes of pairs of
// bits, twelve bytes of s, f16 d. A word of pairs holds four weights in each of four pairs, 32 weights apart.

const LEN = 256u;
const BLOCK = 55u;
const FAR = 32u;

fn unit_start(unit: u32) -> u32 {
    return 64 * (unit / 8) + 4 * (unit % 8);
}

// Returns weights `i..i + 4` of a block.
fn four(block: u32, i: u32) -> vec4f {
    let pairs = word_at(block + 16 + i / 128 * 16 + i % 32 / 2) >> (i % 128 / 32 * 2);
    let bits = word_at(block + i % 32 / 2) >> (i / 32);
    let low = (vec4u(pairs) >> vec4u(0, 8, 16, 24)) & vec4u(3);
    let high = (vec4u(bits) >> vec4u(0, 8, 16, 24)) & vec4u(1);
    // The low bits of s[j] are in byte j % 8, its upper bits in byte j % 4 of the third word.
    let j = i / 16;
    let near = word_at(block + 48 + j % 8 / 4 * 2) >> (j % 4 * 8 + j / 8 * 4);
    let far = word_at(block + 52) >> (j % 4 * 8 + j / 4 * 2);
    let s = (near & 15) | ((far & 3) << 4);
    return half_at(block + 54) * (f32(s) - 32.0) * (vec4f(low | (high << vec4u(2))) - 4.0);
}

fn weight4(row: u32, k: u32) -> vec4f {
    return four(block_at(row, k), k % 256);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let block = place + unit / 32 * BLOCK;
    let i = unit_start(unit % 32);
    return Eight(four(block, i), four(block, i + FAR));
}
