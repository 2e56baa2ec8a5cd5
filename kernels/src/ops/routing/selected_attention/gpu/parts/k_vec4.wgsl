@group(0) @binding(K_BINDING) var<storage, read> k: array<vec4f>;

fn plain_key(row: u32, i: u32) -> vec4f {
    return k[params.k_start + row * D4 + i];
}

fn key_factor(key: Key) -> f32 {
    return 1.0;
}
