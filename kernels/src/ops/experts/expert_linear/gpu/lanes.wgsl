// A workgroup owns four outputs of a pair of a token and an expert. Its GROUP lanes divide K in units of 8 weights; adjacent
// lanes read adjacent units.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let quad = quad_of(group.y * groups.x + group.x);
    if !quad.here {
        return;
    }
    let totals = reduce_sum4(dots(quad, lane, GROUP), lane);
    if lane < 4 {
        write(quad, lane, totals[lane]);
    }
}
