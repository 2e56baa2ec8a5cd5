// d q[i] + m: of sixteen bytes, byte i holds weight i in its low nibble and weight i + 16 in its high nibble.
// `scale_at` returns (d, m) of a block; NIBBLES is the offset of these bytes in the block.

// A unit is one word: four weights from its low nibbles, four from its high nibbles.
const FAR = 16u;

fn unit_start(unit: u32) -> u32 {
    return 32 * (unit / 4) + 4 * (unit % 4);
}

fn low_nibbles(word: u32) -> vec4f {
    return vec4f((vec4u(word) >> vec4u(0, 8, 16, 24)) & vec4u(15));
}

fn weight4(row: u32, k: u32) -> vec4f {
    let block = block_at(row, k);
    let scale = scale_at(block);
    let word = word_at(block + NIBBLES + (k % 16) / 2);
    return scale.x * low_nibbles(word >> ((k % 32) / 16 * 4)) + scale.y;
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let block = place + unit / 4 * BLOCK;
    let scale = scale_at(block);
    let word = word_at(block + NIBBLES + 2 * (unit % 4));
    return Eight(scale.x * low_nibbles(word) + scale.y, scale.x * low_nibbles(word >> 4) + scale.y);
}
