// [B, T, H]: see factors.wgsl.
@group(0) @binding(K_BINDING) var<storage, read> factors: array<f32>;

fn plain_key(row: u32, i: u32) -> vec4f {
    return query_vector(row, i);
}

fn key_factor(key: Key) -> f32 {
    return select(factors[min(key.row, arrayLength(&factors) - 1)], 1.0, key.token == SLOT);
}
