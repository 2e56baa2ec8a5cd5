@group(0) @binding(0) var<storage, read> x: array<vec4f>;

// Row lengths are multiples of 8, row strides multiples of 4.
fn x_row(token: u32) -> u32 {
    return params.x_start + token * (params.x_stride / 4);
}

fn x4_at(place: u32, k: u32) -> vec4f {
    return x[place + k / 4];
}

fn x4(token: u32, k: u32) -> vec4f {
    return x4_at(x_row(token), k);
}
