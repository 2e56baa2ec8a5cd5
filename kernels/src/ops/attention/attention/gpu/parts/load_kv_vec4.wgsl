// Rows of k and v as vectors of four.

@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;

fn load_k(row: u32, i: u32) -> vec4f {
    return k[row + i];
}

fn load_v(row: u32, i: u32) -> vec4f {
    return v[row + i];
}
