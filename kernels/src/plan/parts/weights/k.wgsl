// d s[j] q[i] - e m[j] in blocks of 256, j = i / 32. A block starts with f16 d, f16 e and twelve bytes of s and m, and
// is a whole number of words.
// `quants(at, word, j)` returns q of four weights of sub-block j. `at` is the block's first word; `word` indexes the
// words of nibbles. Each such word holds four weights of an even sub-block in its low nibbles and four of the next,
// odd sub-block in its high nibbles.

const LEN = 256u;
const FAR = 32u;

fn unit_start(unit: u32) -> u32 {
    return 64 * (unit / 8) + 4 * (unit % 8);
}

fn four(at: u32, word: u32, j: u32) -> vec4f {
    let de = unpack2x16float(weight[at]);
    // Takes byte j % 4 of each of the three words: s and m of sub-block
    // j % 4, and the low halves of s and m of sub-block j % 4 + 4.
    let bytes = vec3u(weight[at + 1], weight[at + 2], weight[at + 3]) >> vec3u(8 * (j % 4));
    let first = bytes.xy & vec2u(63);
    let second = ((bytes.zz >> vec2u(0, 4)) & vec2u(15)) | (((bytes.xy >> vec2u(6)) & vec2u(3)) << vec2u(4));
    let sm = de * vec2f(select(second, first, j < 4));
    return sm.x * vec4f(quants(at, word, j)) - sm.y;
}

fn weight4(row: u32, k: u32) -> vec4f {
    let at = params.weight_start + block_at(row, k) / 2;
    return four(at, k % 256 / 64 * 8 + k % 32 / 4, k % 256 / 32);
}

fn weight8_at(place: u32, unit: u32) -> Eight {
    let at = params.weight_start + (place + unit / 32 * BLOCK) / 2;
    let word = unit % 32;
    return Eight(four(at, word, word / 8 * 2), four(at, word, word / 8 * 2 + 1));
}
