// Nibbles that are codes of `numbers`: of each sixteen bytes, byte i holds weight i in its low nibble and weight i + 16 in
// its high nibble. `scale_at(block, j)` returns the scale of 32 weights of a block, `codes_at(block, word)` four of its
// bytes.

const FAR = 16u;

fn unit_start(unit: u32) -> u32 {
    return 32 * (unit / 4) + 4 * (unit % 4);
}

fn low_codes(word: u32) -> vec4f {
    return numbers((vec4u(word) >> vec4u(0, 8, 16, 24)) & vec4u(15));
}

fn weight4(row: u32, k: u32) -> vec4f {
    let block = block_at(row, k);
    let j = k % LEN / 32;
    let word = codes_at(block, 4 * j + k % 16 / 4);
    return scale_at(block, j) * low_codes(word >> (k % 32 / 16 * 4));
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let block = place + unit / (LEN / 8) * BLOCK;
    let scale = scale_at(block, unit % (LEN / 8) / 4);
    let word = codes_at(block, unit % (LEN / 8));
    return Eight(scale * low_codes(word), scale * low_codes(word >> 4));
}
