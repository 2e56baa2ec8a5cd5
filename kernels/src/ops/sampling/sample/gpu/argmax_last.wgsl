// Pass 2 of argmax: one workgroup takes the best of the partials.

struct Params {
    groups: u32,
    seen_start: u32,
    token_start: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<vec2u>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    var mine = vec2u(0, 0xffffffff);
    for (var i = lane; i < params.groups; i += GROUP) {
        mine = better(mine, partials[i]);
    }
    let all = best_of_group(mine, lane);
    if lane == 0 {
        choose(chosen_or_not_finite(all.y, all.x));
    }
}
