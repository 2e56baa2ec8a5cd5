// Holds the W best of the tokens so far. Tokens are compared 256 at a time: the
// first that beats the least held one replaces it, then the next, until none
// does. If scores are in random order, about W (1 + ln(T / W)) tokens ever enter.

var<workgroup> next: atomic<u32>;
var<workgroup> next_key: u32;
var<workgroup> least_key: atomic<u32>;
var<workgroup> least_token: atomic<u32>;
// Workgroup-uniform values: lane of the next token to enter, and (least held key, its index).
var<workgroup> chosen: u32;
var<workgroup> least: vec2u;

// Inserts the `count` tokens of a list, at positions from `begin` on; the first `before` members are already held.
// Calls `enter` with the place, index and position of each token that enters, and `leave` with the place of the member
// that it evicts. Returns the number of members that are or were held.
fn take_in(list: u32, lane: u32, count: u32, before: u32, begin: u32) -> u32 {
    var used = before;
    if lane == 0 {
        least = vec2u();
    }
    workgroupBarrier();
    if used >= W {
        find_least(list, lane);
    }
    for (var first = 0u; first < count; first += GROUP) {
        let inside = first + lane < count;
        let key = select(0u, keys[list * params.tokens + min(first + lane, count - 1)], inside);
        var since = 0u;
        for (;;) {
            if lane == 0 {
                atomicStore(&next, GROUP);
            }
            workgroupBarrier();
            // While there is room, the least key is 0, which no token has.
            if lane >= since && key > least.x {
                atomicMin(&next, lane);
            }
            workgroupBarrier();
            if lane == atomicLoad(&next) {
                next_key = key;
            }
            if lane == 0 {
                chosen = atomicLoad(&next);
            }
            let lane_of_next = workgroupUniformLoad(&chosen);
            if lane_of_next >= GROUP {
                break;
            }
            since = lane_of_next + 1;
            let index = first + lane_of_next;
            if lane == 0 {
                let at = select(used, least.y, used >= W);
                if used >= W {
                    leave(list, held_place(list, at), begin + index);
                }
                hold(list, at, next_key, vec2u(begin + index, used));
                enter(list, used, index, begin + index);
            }
            used += 1;
            held_barrier();
            if used >= W {
                find_least(list, lane);
            }
        }
    }
    return used;
}

// Finds the least held key; of equal keys, that of the last token.
fn find_least(list: u32, lane: u32) {
    if lane == 0 {
        atomicStore(&least_key, 0xffffffffu);
        atomicStore(&least_token, 0u);
    }
    workgroupBarrier();
    var mine = 0xffffffffu;
    for (var i = lane; i < W; i += GROUP) {
        mine = min(mine, held_key(list, i));
    }
    atomicMin(&least_key, mine);
    workgroupBarrier();
    mine = atomicLoad(&least_key);
    for (var i = lane; i < W; i += GROUP) {
        if held_key(list, i) == mine {
            atomicMax(&least_token, held_token(list, i));
        }
    }
    workgroupBarrier();
    for (var i = lane; i < W; i += GROUP) {
        if held_key(list, i) == mine && held_token(list, i) == atomicLoad(&least_token) {
            least = vec2u(mine, i);
        }
    }
    workgroupBarrier();
}
