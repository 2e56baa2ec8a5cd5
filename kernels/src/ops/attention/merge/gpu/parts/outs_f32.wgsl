@group(0) @binding(0) var<storage, read> outs: array<f32>;

// Returns vector i of a row. Elements past the end of the row repeat its last one and are not stored.
fn segment_value(row: u32, s: u32, i: u32) -> vec4f {
    let at = params.outs_start + (s * params.rows + row) * OUT_WIDTH + min(4 * i + vec4u(0, 1, 2, 3), vec4u(OUT_WIDTH - 1));
    return vec4f(outs[at.x], outs[at.y], outs[at.z], outs[at.w]);
}
