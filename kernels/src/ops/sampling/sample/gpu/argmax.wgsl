// Pass 1 of argmax: partials[g] is the best (key, id) of workgroup g's strided tokens.

@group(0) @binding(PARTIALS) var<storage, read_write> partials: array<vec2u>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    var mine = vec2u(0, 0xffffffff);
    for (var i = group.x * GROUP + lane; i < params.vocab; i += groups.x * GROUP) {
        mine = better(mine, vec2u(key_of(i), i));
    }
    let all = best_of_group(mine, lane);
    if lane == 0 {
        partials[group.x] = all;
    }
}
