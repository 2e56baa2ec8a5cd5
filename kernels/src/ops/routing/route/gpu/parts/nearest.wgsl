// Nearest selection: stores the tokens of a centroid after those of
// the centroids before it. Each leaves when the W-th after it enters.

@group(0) @binding(0) var<storage, read> nearest: array<u32>;
@group(0) @binding(1) var<storage, read_write> members: array<u32>;
@group(0) @binding(2) var<storage, read_write> ranges: array<u32>;
@group(0) @binding(3) var<storage, read_write> until: array<u32>;

fn selection(list: u32, lane: u32) {
    let c = cluster_of(list);
    let unit = list / params.clusters;
    let first = unit * params.tokens;
    let tokens = length_of(unit / params.heads);
    let mine = part(lane, tokens);
    var found = vec2u();
    for (var t = mine.x; t < mine.y; t += 1) {
        let own = nearest[first + t];
        found += vec2u(select(0u, 1u, own < c), select(0u, 1u, own == c));
    }
    // `running` ends with a barrier and begins with one, so all
    // lanes have read the sums before the next call overwrites them.
    _ = running(found.x, lane);
    let begin = sums[GROUP - 1];
    let before = running(found.y, lane) - found.y;
    let end = begin + sums[GROUP - 1];
    var place = begin + before;
    for (var t = mine.x; t < mine.y; t += 1) {
        if nearest[first + t] == c {
            members[params.members_start + first + place] = t;
            place += 1;
        }
    }
    storageBarrier();
    for (var i = begin + lane; i < end; i += GROUP) {
        var time = params.tokens;
        if params.window < end - i {
            time = members[params.members_start + first + i + params.window];
        }
        until[params.until_start + first + i] = time;
    }
    if c + 1 == params.clusters {
        for (var i = tokens + lane; i < params.tokens; i += GROUP) {
            members[params.members_start + first + i] = 0xffffffffu;
            until[params.until_start + first + i] = 0u;
        }
    }
    if lane == 0 {
        ranges[range_of(list)] = begin;
        ranges[range_of(list) + 1] = end;
    }
}
