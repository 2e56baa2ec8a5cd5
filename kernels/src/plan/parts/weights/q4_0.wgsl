// d (q[i] - 8): f16 d, then the nibbles.

const LEN = 32u;
const BLOCK = 9u;
const NIBBLES = 1u;

fn scale_at(block: u32) -> vec2f {
    let d = half_at(block);
    return vec2f(d, -8.0 * d);
}
