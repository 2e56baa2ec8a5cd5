// Pass 2 of a draw, in one workgroup and without sorting.
//
// The k-th largest key is searched by its bits, two per scan over the keys: the largest key that at least k tokens
// reach. Then, among these tokens, the largest key is searched whose tokens, with all above it, hold top_p of their
// probability. The filter result is `threshold` (keys above it are kept) and `ties` (the first so many tokens with
// that key are kept). The draw then descends a tree with GROUP branches over the kept tokens.

struct Params {
    vocab: u32,
    quads: u32,
    // 0: no limit.
    top_k: u32,
    // 1: no limit.
    top_p: f32,
    min_p: f32,
    random: f32,
    half_temperature: f32,
    // Half the distance from the likeliest z beyond which the probability counts as 0.
    reach: f32,
    // Levels of the tree.
    levels: u32,
    seen_start: u32,
    token_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

struct Kept {
    threshold: u32,
    ties: u32,
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    let most = likeliest(lane);
    let top = bitcast<f32>(select(~most, most & 0x7fffffff, most >= 0x80000000));
    var kept = Kept(0, 0);
    if params.top_k > 0 {
        kept = keep_top_k(lane);
    }
    if params.top_p < 1 {
        kept = keep_top_p(kept, most, top, lane);
    }
    let id = walk(kept, most, top, lane);
    if lane == 0 {
        choose(chosen_or_not_finite(id, most));
    }
}

fn keep_top_k(lane: u32) -> Kept {
    var key = 0u;
    for (var step = 0x40000000u; step > 0; step /= 4) {
        let enough = count(vec4u(key) + step * vec4u(1, 2, 3, 3), lane) >= vec4u(params.top_k);
        key += step * select(select(select(0u, 1u, enough.x), 2u, enough.y), 3u, enough.z);
    }
    return Kept(key, params.top_k - count(vec4u(key + 1), lane).x);
}

fn keep_top_p(within: Kept, most: u32, top: f32, lane: u32) -> Kept {
    let tied = f32(within.ties) * probability(vec4u(max(within.threshold, 1)), top).x;
    let wanted = params.top_p * (mass(vec4u(within.threshold + 1), top, lane).x + tied);
    var key = 0u;
    for (var step = 0x40000000u; step > 0; step /= 4) {
        let least = vec4u(key) + step * vec4u(1, 2, 3, 3);
        // All keys of the previous filter suffice, and a key above the largest never does.
        let reaches = mass(least, top, lane) >= vec4f(wanted);
        let enough = (least <= vec4u(within.threshold)) | (reaches & (least <= vec4u(most)));
        key += step * select(select(select(0u, 1u, enough.x), 2u, enough.y), 3u, enough.z);
    }
    let lacking = (wanted - mass(vec4u(key + 1), top, lane).x) / max(probability(vec4u(max(key, 1)), top).x, 1e-30);
    // Number of ties needed, at least one; a number above the existing ones is harmless.
    let ties = u32(clamp(ceil(lacking), 1, 4e9));
    return Kept(key, select(ties, min(ties, within.ties), key == within.threshold));
}
