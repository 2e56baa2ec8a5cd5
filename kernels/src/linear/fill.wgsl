// A product over no inputs: y[t, n] = bias[n] or 0, one invocation an output.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (group.y * groups.x + group.x) * GROUP + lane;
    if index < params.tokens * params.rows {
        write(index / params.rows, index % params.rows, 0.0);
    }
}
