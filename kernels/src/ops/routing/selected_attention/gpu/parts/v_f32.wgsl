@group(0) @binding(V_BINDING) var<storage, read> v: array<f32>;

fn plain_value(row: u32, i: u32) -> vec4f {
    let at = four(params.v_start + row * V, i, V);
    return select(vec4f(), vec4f(v[at.x], v[at.y], v[at.z], v[at.w]), inside(i, V));
}
