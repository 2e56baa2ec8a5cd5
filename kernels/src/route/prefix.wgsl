// The W best of the tokens so far, held in workgroup memory: of 256 tokens at a time the first that beats the least of them
// takes its place, then the next, until none does. In order of time about W (1 + ln(T / W)) tokens ever do.

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read_write> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> ranges: array<u32>;
@group(0) @binding(3) var<storage, read_write> until: array<u32>;

// Key, token and place of those that are held.
var<workgroup> held_key: array<u32, W>;
var<workgroup> held_token: array<u32, W>;
var<workgroup> held_place: array<u32, W>;
var<workgroup> next: atomic<u32>;
var<workgroup> next_key: u32;
var<workgroup> least_key: atomic<u32>;
var<workgroup> least_token: atomic<u32>;
// What all lanes go by: the next token's lane, the least key that is held, and where that is.
var<workgroup> chosen: u32;
var<workgroup> least: vec2u;

fn selection(list: u32, lane: u32) {
    let c = list % params.clusters;
    let places = list / params.clusters * params.entries + c * params.tokens;
    var used = 0u;
    if lane == 0 {
        least = vec2u();
    }
    workgroupBarrier();
    for (var first = 0u; first < params.tokens; first += GROUP) {
        let inside = first + lane < params.tokens;
        let key = select(0u, keys[list * params.tokens + min(first + lane, params.tokens - 1)], inside);
        var since = 0u;
        for (;;) {
            if lane == 0 {
                atomicStore(&next, GROUP);
            }
            workgroupBarrier();
            // While there is room the least key is 0, that of no token.
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
            let token = first + lane_of_next;
            if lane == 0 {
                let at = select(used, least.y, used >= params.window);
                if used >= params.window {
                    until[params.until_start + places + held_place[at]] = token;
                }
                held_key[at] = next_key;
                held_token[at] = token;
                held_place[at] = used;
                members[params.members_start + places + used] = token;
                until[params.until_start + places + used] = params.tokens;
                atomicStore(&least_key, 0xffffffffu);
                atomicStore(&least_token, 0u);
            }
            used += 1;
            workgroupBarrier();
            if used >= params.window {
                var mine = 0xffffffffu;
                for (var i = lane; i < params.window; i += GROUP) {
                    mine = min(mine, held_key[i]);
                }
                atomicMin(&least_key, mine);
                workgroupBarrier();
                mine = atomicLoad(&least_key);
                // Of equal keys the last token is the least.
                for (var i = lane; i < params.window; i += GROUP) {
                    if held_key[i] == mine {
                        atomicMax(&least_token, held_token[i]);
                    }
                }
                workgroupBarrier();
                for (var i = lane; i < params.window; i += GROUP) {
                    if held_key[i] == mine && held_token[i] == atomicLoad(&least_token) {
                        least = vec2u(mine, i);
                    }
                }
            }
            workgroupBarrier();
        }
    }
    for (var i = used + lane; i < params.tokens; i += GROUP) {
        members[params.members_start + places + i] = 0xffffffffu;
        until[params.until_start + places + i] = 0u;
    }
    if lane == 0 {
        ranges[params.ranges_start + 2 * list] = c * params.tokens;
        ranges[params.ranges_start + 2 * list + 1] = c * params.tokens + used;
    }
}
