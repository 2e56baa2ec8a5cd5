@group(0) @binding(DOUT_BINDING) var<storage, read> dout: array<f32>;

fn dout_vector(row: u32, i: u32) -> vec4f {
    let at = four(params.dout_start + row * V, i, V);
    return select(vec4f(), vec4f(dout[at.x], dout[at.y], dout[at.z], dout[at.w]), inside(i, V));
}
