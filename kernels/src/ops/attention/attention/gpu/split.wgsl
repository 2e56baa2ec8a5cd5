// Combines the splits of each row (b, t, h) stored by partial.wgsl, one invocation per vector of the row.

struct Params {
    batch: u32,
    queries: u32,
    heads: u32,
    q_rows: u32,
    segments: u32,
    cu_q_start: u32,
    sinks_start: u32,
    out_start: u32,
    lse_start: u32,
}

// [rows, splits, V4 + 1]
@group(0) @binding(PARTIAL_BINDING) var<storage, read> partial: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

fn segment_state(row: u32, s: u32) -> vec2f {
    return partial[(row * params.segments + s) * (V4 + 1) + V4].xy;
}

fn segment_value(row: u32, s: u32, i: u32) -> vec4f {
    return partial[(row * params.segments + s) * (V4 + 1) + i];
}

fn invocation(index: u32) {
    let h = index / V4 % params.heads;
    let t = index / V4 / params.heads % params.queries;
    let b = index / V4 / params.heads / params.queries;
    if b < params.batch && t < queries_of(b) {
        combine((first_query(b) + t) * params.heads + h, h, index % V4);
    }
}
