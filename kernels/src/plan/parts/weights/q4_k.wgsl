// Block layout: the scales, then the nibbles.

const BLOCK = 72u;

fn quants(at: u32, word: u32, j: u32) -> vec4u {
    return (vec4u(weight[at + 4 + word] >> (j % 2 * 4)) >> vec4u(0, 8, 16, 24)) & vec4u(15);
}
