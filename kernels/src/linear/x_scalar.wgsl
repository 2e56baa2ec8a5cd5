@group(0) @binding(0) var<storage, read> x: array<f32>;

fn x_or_zero(token: u32, k: u32) -> f32 {
    let at = params.x_start + token * params.x_stride + min(k, params.width - 1);
    return select(0.0, x[at], k < params.width);
}

fn x4(token: u32, k: u32) -> vec4f {
    return vec4f(x_or_zero(token, k), x_or_zero(token, k + 1), x_or_zero(token, k + 2), x_or_zero(token, k + 3));
}
