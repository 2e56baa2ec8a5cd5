// Rows of k and v as vectors of four f16, for devices with the feature `shader-f16`.

@group(0) @binding(1) var<storage, read> k: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f16>>;

fn load_k(row: u32, i: u32) -> vec4<f16> {
    return k[row + i];
}

fn load_v(row: u32, i: u32) -> vec4<f16> {
    return v[row + i];
}
