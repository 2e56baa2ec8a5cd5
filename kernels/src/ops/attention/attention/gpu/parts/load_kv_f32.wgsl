// Rows of k and v of any width. The last vector of a row is padded with zeros, as in q.

@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;

fn load_k(row: u32, i: u32) -> vec4f {
    let at = places(row, i, K_WIDTH);
    return select(vec4f(), vec4f(k[at.x], k[at.y], k[at.z], k[at.w]), inside(i, K_WIDTH));
}

fn load_v(row: u32, i: u32) -> vec4f {
    let at = places(row, i, V_WIDTH);
    return select(vec4f(), vec4f(v[at.x], v[at.y], v[at.z], v[at.w]), inside(i, V_WIDTH));
}
