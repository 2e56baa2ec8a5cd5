// Calls `invocation` with every index from 0 on, one index per invocation, GROUP invocations per workgroup. The last
// workgroup may pass indices past the end; `invocation` must ignore them.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    invocation((group.y * groups.x + group.x) * GROUP + lane);
}
