// Prefix selection: the W best of the tokens so far.

@group(0) @binding(1) var<storage, read_write> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> ranges: array<u32>;
@group(0) @binding(3) var<storage, read_write> until: array<u32>;

fn selection(list: u32, lane: u32) {
    let c = cluster_of(list);
    let places = first_place(list);
    let used = take_in(list, lane, length_of(list / params.clusters / params.heads), 0, 0);
    for (var i = used + lane; i < params.tokens; i += GROUP) {
        members[params.members_start + places + i] = 0xffffffffu;
        until[params.until_start + places + i] = 0u;
    }
    if lane == 0 {
        ranges[range_of(list)] = c * params.tokens;
        ranges[range_of(list) + 1] = c * params.tokens + used;
    }
}

// Returns the first place of a list.
fn first_place(list: u32) -> u32 {
    return list / params.clusters * params.entries + cluster_of(list) * params.tokens;
}

fn enter(list: u32, used: u32, index: u32, token: u32) {
    members[params.members_start + first_place(list) + used] = token;
    until[params.until_start + first_place(list) + used] = params.tokens;
}

fn leave(list: u32, place: u32, token: u32) {
    until[params.until_start + first_place(list) + place] = token;
}
