@group(0) @binding(BEGIN_BINDING) var<storage, read> begin_states: array<f32>;

fn begin(at: u32, d: u32, column: u32) -> vec4f {
    let columns = 4 * column + vec4u(0, 1, 2, 3);
    let source = params.begin_start + at + min(d, K - 1) * V + min(columns, vec4u(V - 1));
    let x = vec4f(begin_states[source.x], begin_states[source.y], begin_states[source.z], begin_states[source.w]);
    return select(vec4f(), x, (columns < vec4u(V)) & vec4<bool>(d < K));
}
