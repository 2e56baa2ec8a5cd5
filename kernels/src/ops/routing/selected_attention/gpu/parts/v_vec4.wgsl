@group(0) @binding(V_BINDING) var<storage, read> v: array<vec4f>;

fn plain_value(row: u32, i: u32) -> vec4f {
    return v[params.v_start + row * V4 + i];
}
