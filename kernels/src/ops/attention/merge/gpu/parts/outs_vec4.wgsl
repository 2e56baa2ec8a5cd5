@group(0) @binding(0) var<storage, read> outs: array<vec4f>;

fn segment_value(row: u32, s: u32, i: u32) -> vec4f {
    return outs[params.outs_start + (s * params.rows + row) * V4 + i];
}
