// Finds the centroid with the largest score for every token, the first of several.

struct Params {
    units: u32,
    tokens: u32,
    clusters: u32,
    // First token and number of tokens of the pass.
    first_token: u32,
    some_tokens: u32,
}

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read_write> nearest: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.units * params.some_tokens {
        return;
    }
    let unit = index / params.some_tokens;
    let token = index % params.some_tokens;
    var best = vec2u();
    for (var c = 0u; c < params.clusters; c += 1) {
        let key = keys[(unit * params.clusters + c) * params.some_tokens + token];
        best = select(best, vec2u(c, key), key > best.y);
    }
    nearest[unit * params.tokens + params.first_token + token] = best.x;
}
