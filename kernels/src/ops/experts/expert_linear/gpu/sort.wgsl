// Sorts pairs of a token and an expert by expert, and lists tiles of up to TILE pairs of one expert. One workgroup: the
// pairs of a step are few. Pairs whose id is past the last expert come last. The order within an expert does not matter.
// Workgroup memory: PLACES words.

struct Params {
    pairs: u32,
    experts: u32,
    tiles: u32,
    ids_start: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read_write> order: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

// The pairs of each expert, then the place of its next one.
var<workgroup> places: array<atomic<u32>, PLACES>;

fn expert_of(pair: u32) -> u32 {
    return min(ids[params.ids_start + pair], params.experts);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var e = lane; e <= params.experts; e += GROUP) {
        atomicStore(&places[e], 0u);
    }
    workgroupBarrier();
    for (var pair = lane; pair < params.pairs; pair += GROUP) {
        atomicAdd(&places[expert_of(pair)], 1u);
    }
    workgroupBarrier();
    if lane == 0 {
        var next = 0u;
        var at = params.pairs;
        for (var e = 0u; e <= params.experts; e += 1) {
            let end = next + atomicLoad(&places[e]);
            atomicStore(&places[e], next);
            for (; next < end; next += TILE) {
                order[at] = e;
                order[at + 1] = next;
                order[at + 2] = min(next + TILE, end);
                at += 3;
            }
            next = end;
        }
        for (; at < params.pairs + 3 * params.tiles; at += 3) {
            order[at + 1] = 0;
            order[at + 2] = 0;
        }
    }
    workgroupBarrier();
    for (var pair = lane; pair < params.pairs; pair += GROUP) {
        order[atomicAdd(&places[expert_of(pair)], 1u)] = pair;
    }
}
