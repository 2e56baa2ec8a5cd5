// Layout of a centroid's lists: W + T places for keys, T for queries.

struct Params {
    units: u32,
    tokens: u32,
    clusters: u32,
    heads: u32,
    first_start: u32,
    state_start: u32,
    members_start: u32,
    ranges_start: u32,
    k_members_start: u32,
    k_ranges_start: u32,
    until_start: u32,
}

@group(0) @binding(1) var<storage, read> first: array<u32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> members: array<u32>;
@group(0) @binding(4) var<storage, read_write> ranges: array<u32>;
@group(0) @binding(5) var<storage, read_write> k_members: array<u32>;
@group(0) @binding(6) var<storage, read_write> k_ranges: array<u32>;
@group(0) @binding(7) var<storage, read_write> until: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

const KEPT = 0xffffffffu;

fn first_of(list: u32) -> u32 {
    return first[params.first_start + list / params.clusters / params.heads];
}

fn state_of(list: u32) -> u32 {
    return params.state_start + list * STATE;
}

fn key_place(list: u32) -> u32 {
    return params.k_members_start + list * (W + params.tokens);
}

fn time_place(list: u32) -> u32 {
    return params.until_start + list * (W + params.tokens);
}

fn query_place(list: u32) -> u32 {
    return params.members_start + list * params.tokens;
}

// Writes the ranges and clears the unused places. The `all` keys from `before` on are also queries.
fn bound(list: u32, lane: u32, before: u32, all: u32) {
    for (var i = all + lane; i < W + params.tokens; i += GROUP) {
        k_members[key_place(list) + i] = 0xffffffffu;
        until[time_place(list) + i] = 0u;
    }
    for (var i = all - before + lane; i < params.tokens; i += GROUP) {
        members[query_place(list) + i] = 0xffffffffu;
    }
    if lane == 0 {
        let c = list % params.clusters;
        let at = 2 * list;
        ranges[params.ranges_start + at] = c * params.tokens;
        ranges[params.ranges_start + at + 1] = c * params.tokens + all - before;
        k_ranges[params.k_ranges_start + at] = c * (W + params.tokens);
        k_ranges[params.k_ranges_start + at + 1] = c * (W + params.tokens) + all;
    }
}
