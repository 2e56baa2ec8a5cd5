// One invocation an index, GROUP of them a workgroup: calls `invocation` with every number from 0 on, also with some behind
// the last, which it leaves alone.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    invocation((group.y * groups.x + group.x) * GROUP + lane);
}
