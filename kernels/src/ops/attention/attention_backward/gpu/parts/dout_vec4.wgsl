@group(0) @binding(3) var<storage, read> dout: array<vec4f>;

fn load_dout(row: u32, i: u32) -> vec4f {
    return dout[row + i];
}
