// Merges the attention results of several segments of keys, one invocation per vector of a row.

struct Params {
    rows: u32,
    segments: u32,
    outs_start: u32,
    lses_start: u32,
    out_start: u32,
    lse_start: u32,
}

@group(0) @binding(1) var<storage, read> lses: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// Returns (largest logit, sum of weights) of segment `s` of a
// row, treating the segment as a single key with logit lse.
fn segment_state(row: u32, s: u32) -> vec2f {
    let lse = lses[params.lses_start + s * params.rows + row];
    return vec2f(select(LOG2_E * lse, NONE, lse <= NONE), 1);
}

fn invocation(index: u32) {
    if index < params.rows * V4 {
        combine(index / V4, 0, index % V4);
    }
}
