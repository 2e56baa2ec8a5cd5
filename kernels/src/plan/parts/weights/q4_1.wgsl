// d q[i] + m: f16 d, f16 m, then the nibbles. A block is a whole number of words.

const LEN = 32u;
const BLOCK = 10u;
const NIBBLES = 2u;

fn scale_at(block: u32) -> vec2f {
    return unpack2x16float(weight[params.weight_start + block / 2]);
}
