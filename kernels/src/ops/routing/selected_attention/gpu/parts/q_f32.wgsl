// Rows of any width: vectors are filled up with zeros.

@group(0) @binding(0) var<storage, read> q: array<f32>;

// The four elements of vector i, the last of the row in place of those behind it.
fn four(first: u32, i: u32, width: u32) -> vec4u {
    return first + min(4 * i + vec4u(0, 1, 2, 3), vec4u(width - 1));
}

fn inside(i: u32, width: u32) -> vec4<bool> {
    return 4 * i + vec4u(0, 1, 2, 3) < vec4u(width);
}

fn query_vector(row: u32, i: u32) -> vec4f {
    let at = four(params.q_start + row * D, i, D);
    return select(vec4f(), vec4f(q[at.x], q[at.y], q[at.z], q[at.w]), inside(i, D));
}
