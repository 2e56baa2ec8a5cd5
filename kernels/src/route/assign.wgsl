// The centroid of the largest score of every token, the first of several.

struct Params {
    units: u32,
    tokens: u32,
    clusters: u32,
}

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read_write> nearest: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.units * params.tokens {
        return;
    }
    let unit = index / params.tokens;
    var best = vec2u();
    for (var c = 0u; c < params.clusters; c += 1) {
        let key = keys[(unit * params.clusters + c) * params.tokens + index % params.tokens];
        best = select(best, vec2u(c, key), key > best.y);
    }
    nearest[index] = best.x;
}
