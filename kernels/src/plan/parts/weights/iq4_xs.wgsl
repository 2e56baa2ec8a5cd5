// d (s[i / 32] - 32) K[q[i]] in blocks of 256: f16 d, the upper two bits of eight s, four bytes with their low four bits,
// then the nibbles. A block is a whole number of words.

const LEN = 256u;
const BLOCK = 68u;

fn scale_at(block: u32, j: u32) -> f32 {
    let at = params.weight_start + block / 2;
    let head = weight[at];
    let s = ((weight[at + 1] >> (4 * j)) & 15) | (((head >> (16 + 2 * j)) & 3) << 4);
    return unpack2x16float(head).x * (f32(s) - 32.0);
}

fn codes_at(block: u32, word: u32) -> u32 {
    return weight[params.weight_start + block / 2 + 2 + word];
}
