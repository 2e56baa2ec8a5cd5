// Block layout: the scales, then 32 bytes whose bit j is a fifth bit of sub-block j, then the nibbles.

const BLOCK = 88u;

fn quants(at: u32, word: u32, j: u32) -> vec4u {
    let low = (vec4u(weight[at + 12 + word] >> (j % 2 * 4)) >> vec4u(0, 8, 16, 24)) & vec4u(15);
    let high = (vec4u(weight[at + 4 + word % 8] >> j) >> vec4u(0, 8, 16, 24)) & vec4u(1);
    return low | (high << vec4u(4));
}
