@group(0) @binding(1) var<storage, read_write> seen: array<u32>;

// Returns `z` of token `i`, reduced if the token was seen.
fn penalised(i: u32, z: u32) -> u32 {
    if (seen[params.seen_start + i / 32] & (1u << (i % 32))) == 0 {
        return z;
    }
    let value = bitcast<f32>(z);
    if value > 0 {
        return finite(bitcast<u32>(value / params.penalty));
    }
    return finite(bitcast<u32>(value * params.penalty));
}
