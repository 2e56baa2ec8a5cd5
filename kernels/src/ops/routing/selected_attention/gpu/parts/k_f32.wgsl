@group(0) @binding(K_BINDING) var<storage, read> k: array<f32>;

fn plain_key(row: u32, i: u32) -> vec4f {
    let at = four(params.k_start + row * D, i, D);
    return select(vec4f(), vec4f(k[at.x], k[at.y], k[at.z], k[at.w]), inside(i, D));
}

fn key_factor(key: Key) -> f32 {
    return 1.0;
}
