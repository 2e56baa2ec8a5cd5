// (a, b) <- (a cos - b sin, a sin + b cos) in place, one invocation per pair.

struct Params {
    tokens: u32,
    heads: u32,
    dim: u32,
    pairs: u32,
    rows: u32,
    stride: u32,
    positions_start: u32,
    table_start: u32,
    x_start: u32,
}

@group(0) @binding(0) var<storage, read> positions: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.tokens * params.heads * params.pairs {
        return;
    }
    let j = index % params.pairs;
    let head = index / params.pairs % params.heads;
    let token = index / params.pairs / params.heads;

    let row = min(positions[params.positions_start + token], params.rows - 1);
    let angle = params.table_start + (row * params.pairs + j) * 2;
    let cosine = table[angle];
    let sine = table[angle + 1];

    let at = params.x_start + token * params.stride + head * params.dim;
    let first = at + select(j, 2 * j, INTERLEAVED);
    let second = select(first + params.pairs, first + 1, INTERLEAVED);
    let a = x[first];
    let b = x[second];
    x[first] = a * cosine - b * sine;
    x[second] = a * sine + b * cosine;
}
