@group(0) @binding(0) var<storage, read> q: array<vec4f>;

fn query_vector(row: u32, i: u32) -> vec4f {
    return q[params.q_start + row * D4 + i];
}
