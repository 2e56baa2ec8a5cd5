// d (q[i] - 16): f16 d, the fifth bits, then the nibbles.

const LEN = 32u;
const BLOCK = 11u;
const NIBBLES = 3u;

fn scale_at(block: u32) -> vec2f {
    let d = half_at(block);
    return vec2f(d, -16.0 * d);
}
