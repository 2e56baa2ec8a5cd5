@group(0) @binding(3) var<storage, read> dout: array<f32>;

fn load_dout(row: u32, i: u32) -> vec4f {
    let at = places(row, i, V_WIDTH);
    return select(vec4f(), vec4f(dout[at.x], dout[at.y], dout[at.z], dout[at.w]), inside(i, V_WIDTH));
}
