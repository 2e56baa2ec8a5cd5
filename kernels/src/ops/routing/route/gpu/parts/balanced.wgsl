// Balanced selection, the W best tokens. A radix search finds the W-th key digit by digit, from counts of keys with
// the same leading digits. Selected are the tokens above that key and, in order, as many equal ones as are missing.

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read_write> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> ranges: array<u32>;

var<workgroup> counts: array<atomic<u32>, GROUP>;
// (digit of the W-th key, number of keys wanted among those with that digit)
var<workgroup> digit: vec2u;

fn selection(list: u32, lane: u32) {
    let first = list * params.tokens;
    let tokens = length_of(list / params.clusters / params.heads);
    let all = min(params.window, tokens);
    var begin = 0u;
    var lacking = all;
    for (var round = 0u; round < 4; round += 1) {
        let shift = 24 - 8 * round;
        atomicStore(&counts[lane], 0u);
        workgroupBarrier();
        for (var t = lane; t < tokens; t += GROUP) {
            let key = keys[first + t];
            if round == 0 || (key >> (shift + 8 * min(round, 1u))) == begin {
                atomicAdd(&counts[(key >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        // Counts are summed from the largest digit down.
        let own = atomicLoad(&counts[GROUP - 1 - lane]);
        let reached = running(own, lane);
        if reached >= lacking && reached - own < lacking {
            digit = vec2u(GROUP - 1 - lane, lacking - (reached - own));
        }
        workgroupBarrier();
        begin = begin * 256 + digit.x;
        lacking = digit.y;
        workgroupBarrier();
    }
    let mine = part(lane, tokens);
    var found = vec2u();
    for (var t = mine.x; t < mine.y; t += 1) {
        let key = keys[first + t];
        found += vec2u(select(0u, 1u, key > begin), select(0u, 1u, key == begin));
    }
    let above = running(found.x, lane) - found.x;
    var ties = running(found.y, lane) - found.y;
    let c = cluster_of(list);
    let own = params.members_start + list / params.clusters * params.entries + c * params.window;
    var place = own + above + min(ties, lacking);
    for (var t = mine.x; t < mine.y; t += 1) {
        let key = keys[first + t];
        let tied = key == begin;
        if key > begin || (tied && ties < lacking) {
            members[place] = t;
            place += 1;
        }
        ties += select(0u, 1u, tied);
    }
    for (var i = all + lane; i < params.window; i += GROUP) {
        members[own + i] = 0xffffffffu;
    }
    if lane == 0 {
        ranges[range_of(list)] = c * params.window;
        ranges[range_of(list) + 1] = c * params.window + all;
    }
}
