// Rows of any width: the last vector of a row is padded with zeros.

@group(0) @binding(0) var<storage, read> q: array<f32>;

// Returns the offsets of the four elements of vector i; offsets
// past the end of the row are clamped to its last element.
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
