@group(0) @binding(0) var<storage, read> x: array<f32>;

fn x_row(token: u32) -> u32 {
    return params.x_start + token * params.x_stride;
}

fn x_or_zero(place: u32, k: u32) -> f32 {
    return select(0.0, x[place + min(k, params.width - 1)], k < params.width);
}

fn x4_at(place: u32, k: u32) -> vec4f {
    return vec4f(x_or_zero(place, k), x_or_zero(place, k + 1), x_or_zero(place, k + 2), x_or_zero(place, k + 3));
}

fn x4(token: u32, k: u32) -> vec4f {
    return x4_at(x_row(token), k);
}
