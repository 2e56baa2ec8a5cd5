// Precomputes (lse in units of log2(e), delta, weight) of each
// place, stored after the lists. One invocation per token of a head.

struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    clusters: u32,
    entries: u32,
    members: u32,
    rows: u32,
    eps: f32,
    out_start: u32,
    blocks_start: u32,
    lse_start: u32,
    dout_start: u32,
}

@group(0) @binding(0) var<storage, read_write> lists: array<u32>;
@group(0) @binding(1) var<storage, read> out: array<f32>;
@group(0) @binding(2) var<storage, read> blocks: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> dout: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

const NONE = -3.0e38;
const LOG2_E = 1.44269504;

fn invocation(index: u32) {
    if index >= params.units * params.tokens {
        return;
    }
    let unit = index / params.tokens;
    let token = index % params.tokens;
    let row = ((unit / params.heads * params.tokens + token) * params.heads + unit % params.heads) * V;
    var largest = NONE;
    var total = 0.0;
    for (var c = 0u; c < params.clusters; c += 1) {
        let place = place_of(unit * params.clusters + c, 0, params.members, params.entries, token);
        if place != NOWHERE {
            let own = lse[params.lse_start + place];
            if WEIGHTED {
                let top = max(largest, own);
                total = total * select(exp(largest - top), 0.0, largest <= NONE) + select(exp(own - top), 0.0, own <= NONE);
                largest = top;
            } else {
                total += 1.0;
            }
        }
    }
    for (var c = 0u; c < params.clusters; c += 1) {
        let place = place_of(unit * params.clusters + c, 0, params.members, params.entries, token);
        if place == NOWHERE {
            continue;
        }
        let own = lse[params.lse_start + place];
        var delta = 0.0;
        for (var d = 0u; d < V; d += 1) {
            var value = out[params.out_start + row + d];
            if !WEIGHTED {
                value = blocks[params.blocks_start + place * V + d];
            }
            delta += dout[params.dout_start + row + d] * value;
        }
        let weight = select(1.0, exp(min(own - largest, 0.0)), WEIGHTED) / max(total + params.eps, 1e-30);
        // A place without visible keys has weight 0.
        let seen = own > NONE;
        let at = params.rows + 3 * place;
        lists[at] = bitcast<u32>(select(0.0, LOG2_E * max(own, -1e30), seen));
        lists[at + 1] = bitcast<u32>(delta);
        lists[at + 2] = bitcast<u32>(select(0.0, weight, seen));
    }
}
