@group(0) @binding(1) var<storage, read_write> seen: array<u32>;

// Returns `z` of token `i`, reduced if the token was seen.
fn penalised(i: u32, z: u32) -> u32 {
    let was_seen = (seen[params.seen_start + i / 32] & (1u << (i % 32))) != 0;
    if !was_seen || (z & ~SIGN) >= INFINITE {
        return z;
    }
    let value = bitcast<f32>(z);
    if value > 0 {
        return bitcast<u32>(value / params.penalty);
    }
    return bitcast<u32>(value * params.penalty);
}
