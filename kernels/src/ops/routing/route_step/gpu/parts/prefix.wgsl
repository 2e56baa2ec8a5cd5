// Prefix selection that continues from the best tokens in a centroid's state. Each member is then stored in the state
// at its rank among the kept places, which are in order of time.

fn selection(list: u32, lane: u32) {
    let own = state_of(list);
    if lane == 0 {
        chosen = min(state[own], W);
    }
    let before = workgroupUniformLoad(&chosen);
    for (var i = lane; i < before; i += GROUP) {
        let bits = state[own + 1 + W + i];
        let token = state[own + 1 + i];
        hold(list, i, select(bits | 0x80000000u, ~bits, bits >= 0x80000000u), vec2u(token, i));
        k_members[key_place(list) + i] = token;
        until[time_place(list) + i] = KEPT;
    }
    storageBarrier();
    let used = take_in(list, lane, params.tokens, before, first_of(list));
    storageBarrier();
    let mine = part(lane, used);
    _ = running(kept(list, mine), lane);
    let width = (used + GROUP - 1) / GROUP;
    let held = min(used, W);
    for (var i = lane; i < held; i += GROUP) {
        let place = held_place(list, i);
        let chunk = place / width;
        var rank = kept(list, vec2u(chunk * width, place));
        if chunk > 0 {
            rank += sums[chunk - 1];
        }
        let key = held_key(list, i);
        state[own + 1 + rank] = held_token(list, i);
        state[own + 1 + W + rank] = select(~key, key & 0x7fffffffu, key >= 0x80000000u);
    }
    if lane == 0 {
        state[own] = held;
    }
    bound(list, lane, before, used);
}

// Counts the places in [x, y) whose members are kept.
fn kept(list: u32, places: vec2u) -> u32 {
    var count = 0u;
    for (var i = places.x; i < places.y; i += 1) {
        count += select(0u, 1u, until[time_place(list) + i] == KEPT);
    }
    return count;
}

fn enter(list: u32, used: u32, index: u32, token: u32) {
    k_members[key_place(list) + used] = token;
    until[time_place(list) + used] = KEPT;
    members[query_place(list) + used - before_of(list)] = index;
}

fn leave(list: u32, place: u32, token: u32) {
    until[time_place(list) + place] = token;
}

// Returns the number of members in the state, which is not yet overwritten.
fn before_of(list: u32) -> u32 {
    return min(state[state_of(list)], W);
}
