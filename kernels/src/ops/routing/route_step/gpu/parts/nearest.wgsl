// Nearest selection: appends the tokens of a centroid to those
// of its state. Each leaves when the W-th after it enters.

@group(0) @binding(0) var<storage, read> nearest: array<u32>;

fn selection(list: u32, lane: u32) {
    let c = list % params.clusters;
    let rows = list / params.clusters * params.tokens;
    let own = state_of(list);
    let before = min(state[own], W);
    for (var i = lane; i < before; i += GROUP) {
        k_members[key_place(list) + i] = state[own + 1 + i];
    }
    let mine = part(lane, params.tokens);
    var found = 0u;
    for (var t = mine.x; t < mine.y; t += 1) {
        found += select(0u, 1u, nearest[rows + t] == c);
    }
    var place = running(found, lane) - found;
    let all = before + sums[GROUP - 1];
    for (var t = mine.x; t < mine.y; t += 1) {
        if nearest[rows + t] == c {
            members[query_place(list) + place] = t;
            k_members[key_place(list) + before + place] = first_of(list) + t;
            place += 1;
        }
    }
    storageBarrier();
    for (var i = lane; i < all; i += GROUP) {
        var time = KEPT;
        if W < all - i {
            time = k_members[key_place(list) + i + W];
        }
        until[time_place(list) + i] = time;
    }
    let held = min(all, W);
    for (var i = lane; i < held; i += GROUP) {
        state[own + 1 + i] = k_members[key_place(list) + all - held + i];
    }
    if lane == 0 {
        state[own] = held;
    }
    bound(list, lane, before, all);
}
