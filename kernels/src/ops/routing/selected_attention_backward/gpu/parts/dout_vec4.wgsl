@group(0) @binding(DOUT_BINDING) var<storage, read> dout: array<vec4f>;

fn dout_vector(row: u32, i: u32) -> vec4f {
    return dout[params.dout_start + row * V4 + i];
}
