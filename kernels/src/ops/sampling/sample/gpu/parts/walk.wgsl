// The draw: the range of tokens is divided into GROUP chunks, one per lane. The first chunk in which the running sum
// of probability exceeds the target becomes the new range, until the range is one token.

struct Range {
    first: u32,
    tokens: u32,
    // `before`: probability before the range. `ties`: tied tokens that may still be taken.
    before: f32,
    ties: u32,
}

var<workgroup> range: Range;
var<workgroup> chosen: atomic<u32>;
var<workgroup> last: atomic<u32>;
var<workgroup> tied: array<u32, GROUP>;
var<workgroup> masses: array<f32, GROUP>;

fn walk(kept: Kept, most: u32, top: f32, lane: u32) -> u32 {
    let tie = min_p(kept.threshold, most, probability(vec4u(max(kept.threshold, 1)), top).x);
    var here = Range(0, params.vocab, 0, kept.ties);
    var target_mass = 0.0;
    for (var level = 0u; level < params.levels; level++) {
        let width = (here.tokens + GROUP - 1) / GROUP;
        let first = min(lane * width, here.tokens);
        let tokens = min(width, here.tokens - first);
        var sum = 0.0;
        var ties = 0u;
        for (var i = here.first + first; i < here.first + first + tokens; i++) {
            let key = keys[i / 4][i % 4];
            if key > kept.threshold {
                sum += min_p(key, most, probability(vec4u(key), top).x);
            } else if key == kept.threshold {
                ties++;
            }
        }
        if lane == 0 {
            atomicStore(&chosen, GROUP);
            atomicStore(&last, 0u);
        }
        tied[lane] = ties;
        scan_tied(lane);
        let ties_before = min(select(0u, tied[max(lane, 1) - 1], lane > 0), here.ties);
        sum += tie * f32(min(ties, here.ties - ties_before));
        masses[lane] = sum;
        scan_masses(lane);
        if level == 0 {
            target_mass = params.random * masses[GROUP - 1];
        }
        if here.before + masses[lane] > target_mass && sum > 0 {
            atomicMin(&chosen, lane);
        }
        // If rounding leaves no chunk above the target, the last chunk with any probability is chosen.
        if sum > 0 {
            atomicMax(&last, lane);
        }
        workgroupBarrier();
        let found = atomicLoad(&chosen);
        if lane == select(atomicLoad(&last), found, found < GROUP) {
            let before = select(0.0, masses[max(lane, 1) - 1], lane > 0);
            range = Range(here.first + first, tokens, here.before + before, here.ties - ties_before);
        }
        workgroupBarrier();
        here = range;
        workgroupBarrier();
    }
    return here.first;
}

// Returns `p` if min_p keeps it, otherwise 0. The likeliest token is always kept.
fn min_p(key: u32, most: u32, p: f32) -> f32 {
    return select(0.0, p, p >= params.min_p || key == most);
}

// Computes running sums over the lanes by doubling; ends with a barrier.
fn scan_tied(lane: u32) {
    workgroupBarrier();
    for (var reach = 1u; reach < GROUP; reach *= 2) {
        let added = select(0u, tied[max(lane, reach) - reach], lane >= reach);
        workgroupBarrier();
        tied[lane] += added;
        workgroupBarrier();
    }
}

fn scan_masses(lane: u32) {
    workgroupBarrier();
    for (var reach = 1u; reach < GROUP; reach *= 2) {
        let added = select(0.0, masses[max(lane, reach) - reach], lane >= reach);
        workgroupBarrier();
        masses[lane] += added;
        workgroupBarrier();
    }
}
