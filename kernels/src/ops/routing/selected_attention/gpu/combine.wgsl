// Sums every token over its places, in the order of the lists. A workgroup owns a token of a head. Each lane searches
// one list for the token, GROUP lists at a time, and then sums its elements over all places found.

struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    clusters: u32,
    entries: u32,
    // Offset of the members in `lists`.
    members: u32,
    eps: f32,
    blocks_start: u32,
    lse_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> lists: array<u32>;
@group(0) @binding(1) var<storage, read_write> blocks: array<f32>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

const NONE = -3.0e38;
const GROUP = 64u;
const PER = (V + GROUP - 1) / GROUP;

var<workgroup> places: array<u32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = id.y * ids.x + id.x;
    if index >= params.units * params.tokens {
        return;
    }
    let unit = index / params.tokens;
    let token = index % params.tokens;
    var sum: array<f32, PER>;
    for (var i = 0u; i < PER; i += 1) {
        sum[i] = 0.0;
    }
    // Sum of the weights relative to the largest lse, or the number of places.
    var largest = NONE;
    var total = 0.0;
    for (var first = 0u; first < params.clusters; first += GROUP) {
        workgroupBarrier();
        places[lane] = NOWHERE;
        if first + lane < params.clusters {
            places[lane] = place_of(unit * params.clusters + first + lane, 0, params.members, params.entries, token);
        }
        workgroupBarrier();
        for (var n = 0u; n < min(GROUP, params.clusters - first); n += 1) {
            let place = places[n];
            if place == NOWHERE {
                continue;
            }
            let own = lse[params.lse_start + place];
            var factor = 1.0;
            var weight = 1.0;
            if WEIGHTED {
                let top = max(largest, own);
                factor = select(exp(largest - top), 0.0, largest <= NONE);
                weight = select(exp(own - top), 0.0, own <= NONE);
                largest = top;
            }
            total = total * factor + weight;
            for (var i = 0u; i < PER; i += 1) {
                let d = min(lane + i * GROUP, V - 1);
                sum[i] = sum[i] * factor + weight * blocks[params.blocks_start + place * V + d];
            }
        }
    }
    let all = total + params.eps;
    let share = select(1.0 / max(all, 1e-30), 0.0, total <= 0.0);
    let row = (unit / params.heads * params.tokens + token) * params.heads + unit % params.heads;
    for (var i = 0u; i < PER; i += 1) {
        if lane + i * GROUP < V {
            out[params.out_start + row * V + lane + i * GROUP] = share * sum[i];
        }
    }
}
