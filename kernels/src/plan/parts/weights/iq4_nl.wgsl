// d K[q[i]]: f16 d, then the nibbles.

const LEN = 32u;
const BLOCK = 9u;

fn scale_at(block: u32, j: u32) -> f32 {
    return half_at(block);
}

fn codes_at(block: u32, word: u32) -> u32 {
    return word_at(block + 1 + 2 * word);
}
