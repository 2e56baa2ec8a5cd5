// d q[i] + m: nibbles as in q4.wgsl, preceded by a word whose bit i is the fifth bit of weight i.

const FAR = 16u;

fn unit_start(unit: u32) -> u32 {
    return 32 * (unit / 4) + 4 * (unit % 4);
}

// Returns the low nibbles of the four bytes of `word`, each with its fifth bit from the four lowest bits of `bits`.
fn fives(word: u32, bits: u32) -> vec4f {
    let low = (vec4u(word) >> vec4u(0, 8, 16, 24)) & vec4u(15);
    let high = (vec4u(bits) >> vec4u(0, 1, 2, 3)) & vec4u(1);
    return vec4f(low | (high << vec4u(4)));
}

fn weight4(row: u32, k: u32) -> vec4f {
    let block = block_at(row, k);
    let scale = scale_at(block);
    let word = word_at(block + NIBBLES + (k % 16) / 2);
    let bits = word_at(block + NIBBLES - 2);
    return scale.x * fives(word >> ((k % 32) / 16 * 4), bits >> (k % 32)) + scale.y;
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let block = place + unit / 4 * BLOCK;
    let scale = scale_at(block);
    let word = word_at(block + NIBBLES + 2 * (unit % 4));
    let bits = word_at(block + NIBBLES - 2) >> (4 * (unit % 4));
    return Eight(scale.x * fives(word, bits) + scale.y, scale.x * fives(word >> 4, bits >> 16) + scale.y);
}
