// Normalised tokens of lists.

struct Params {
    batch: u32,
    tokens: u32,
    heads: u32,
    clusters: u32,
    // 2 beta / (B T H D)
    scale: f32,
    x_start: u32,
    members_start: u32,
    ranges_start: u32,
    centroids_start: u32,
    out_start: u32,
    lengths_start: u32,
    // D as a uniform: an unknown trip count stops the compiler
    // from unrolling a loop into more registers than there are.
    dim: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> members: array<u32>;
@group(0) @binding(2) var<storage, read> ranges: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> centroids: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

const GROUP = 64u;

// Returns the token at a place of a head of a sequence.
fn token_at(unit: u32, place: u32) -> u32 {
    return members[params.members_start + unit * params.tokens + place];
}

fn row_of(unit: u32, token: u32) -> u32 {
    return (unit / params.heads * params.tokens + token) * params.heads + unit % params.heads;
}

fn normal(row: u32, d: u32) -> f32 {
    return (x[params.x_start + row * D + d] - rows[row].x) * rows[row].y;
}
