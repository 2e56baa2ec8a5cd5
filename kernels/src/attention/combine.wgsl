// Adds up the splits of each row (b, t, h): one invocation a vector of the row. No splits at all give a row without keys.

struct Params {
    rows: u32,
    heads: u32,
    splits: u32,
    sinks_start: u32,
    out_start: u32,
    lse_start: u32,
}

// [rows, splits, V4 + 1]: see partial.wgsl.
@group(0) @binding(0) var<storage, read> partial: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.rows * V4 {
        return;
    }
    let row = index / V4;
    let i = index % V4;
    let first = row * params.splits * (V4 + 1);

    var largest = NONE;
    for (var s = 0u; s < params.splits; s += 1) {
        largest = max(largest, partial[first + s * (V4 + 1) + V4].x);
    }
    var sum = 0.0;
    var value = vec4f();
    for (var s = 0u; s < params.splits; s += 1) {
        let at = first + s * (V4 + 1);
        let state = partial[at + V4];
        let factor = rescale(state.x, largest);
        sum += factor * state.y;
        value += factor * partial[at + i];
    }
    finish(row, row % params.heads, 0, i, largest, sum, value);
}
