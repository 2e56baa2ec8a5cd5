// d s[i / 16] (q[i] - 32) in blocks of 256: 128 bytes of nibbles, 64 bytes with two more
// bits for four weights each, sixteen signed bytes s, f16 d. A word of nibbles holds
// four weights in its low nibbles and the four weights 64 later in its high nibbles.

const LEN = 256u;
const BLOCK = 105u;
const FAR = 64u;

fn unit_start(unit: u32) -> u32 {
    return 128 * (unit / 16) + 4 * (unit % 16);
}

// Returns weights `i..i + 4` of a block.
fn four(block: u32, i: u32) -> vec4f {
    let nibbles = word_at(block + i / 128 * 32 + i % 64 / 2) >> (i % 128 / 64 * 4);
    let bits = word_at(block + 64 + i / 128 * 16 + i % 32 / 2) >> (i % 128 / 32 * 2);
    let low = (vec4u(nibbles) >> vec4u(0, 8, 16, 24)) & vec4u(15);
    let high = (vec4u(bits) >> vec4u(0, 8, 16, 24)) & vec4u(3);
    let bytes = word_at(block + 96 + i / 64 * 2);
    let s = bitcast<i32>(bytes << (24 - i % 64 / 16 * 8)) >> 24u;
    return half_at(block + 104) * f32(s) * (vec4f(low | (high << vec4u(4))) - 32.0);
}

fn weight4(row: u32, k: u32) -> vec4f {
    return four(block_at(row, k), k % 256);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let block = place + unit / 32 * BLOCK;
    let i = unit_start(unit % 32);
    return Eight(four(block, i), four(block, i + FAR));
}
