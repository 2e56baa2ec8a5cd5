// Computes the weights of the old centroids and of the sums of their tokens, one invocation per head.

struct Params {
    batch: u32,
    tokens: u32,
    heads: u32,
    clusters: u32,
    decay: f32,
    members_start: u32,
    ranges_start: u32,
    counts_start: u32,
    lengths_start: u32,
}

@group(0) @binding(0) var<storage, read> members: array<u32>;
@group(0) @binding(1) var<storage, read> ranges: array<u32>;
// [H, C]: weight of the old centroid, weight of the sum, factor
// of the result, and 1 if the centroid moves, otherwise 0.
@group(0) @binding(2) var<storage, read_write> weights: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

const SMOOTHING = 1e-5;

fn invocation(head: u32) {
    if head >= params.heads {
        return;
    }
    let fresh = 1.0 - params.decay;
    var all = 0.0;
    for (var c = 0u; c < params.clusters; c += 1) {
        var number = 0u;
        for (var b = 0u; b < params.batch; b += 1) {
            let places = list_of((b * params.heads + head) * params.clusters + c);
            number += places.y - places.x;
        }
        let at = head * params.clusters + c;
        let moves = SMOOTHED || (number > 0 && params.decay < 1.0);
        var weight = vec4f(params.decay, fresh, 1.0, select(0.0, 1.0, moves));
        if COUNTS && moves {
            let old = count_of(at);
            let now = params.decay * old + fresh * f32(number);
            store_count(at, now);
            all += now;
            weight.z = now;
            if !SMOOTHED {
                let share = select(0.0, 1.0 / max(now, 1e-37), now > 0.0);
                weight = vec4f(params.decay * old * share, fresh * share, 1.0, 1.0);
            }
        }
        weights[at] = weight;
    }
    for (var c = 0u; SMOOTHED && c < params.clusters; c += 1) {
        let at = head * params.clusters + c;
        let evened = (weights[at].z + SMOOTHING) / (all + f32(params.clusters) * SMOOTHING) * all;
        weights[at].z = select(0.0, 1.0 / max(evened, 1e-37), evened > 0.0);
    }
}
