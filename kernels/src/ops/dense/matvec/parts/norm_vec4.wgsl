@group(0) @binding(2) var<storage, read> norm: array<vec4f>;

// Row lengths are multiples of 8.
fn stored4(k: u32) -> vec4f {
    return norm[params.norm_start + k / 4];
}
