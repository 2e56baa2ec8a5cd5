@group(0) @binding(2) var<storage, read> norm: array<f32>;

// Returns norm[i]. Past the end, where x is 0, the last weight is repeated.
fn stored(i: u32) -> f32 {
    return norm[params.norm_start + min(i, params.width - 1)];
}

fn stored4(k: u32) -> vec4f {
    return vec4f(stored(k), stored(k + 1), stored(k + 2), stored(k + 3));
}
