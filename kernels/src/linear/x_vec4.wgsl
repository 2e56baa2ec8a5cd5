@group(0) @binding(0) var<storage, read> x: array<vec4f>;

// Rows and their stride are multiples of 4.
fn x4(token: u32, k: u32) -> vec4f {
    return x[params.x_start + token * (params.x_stride / 4) + k / 4];
}
