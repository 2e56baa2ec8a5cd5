// Rows of q as vectors of four: every dimension and stride is a multiple of four.

@group(0) @binding(0) var<storage, read> q: array<vec4f>;

fn load_q(row: u32, i: u32) -> vec4f {
    return q[row + i];
}
