// A workgroup owns four rows of the weight. Its GROUP lanes divide
// K in units of 8 weights; adjacent lanes read adjacent units.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * OUTPUTS;
    if first >= params.rows {
        return;
    }
    let sums = products(rows_of(first), lane, GROUP);
    var scales = vec4f(1.0);
    if NORM {
        scales = inverses(reduce_sum4(sums.squares, lane));
    }
    finish(0, first, sums.t0, scales.x, lane);
    if TOKENS > 1 {
        finish(1, first, sums.t1, scales.y, lane);
    }
    if TOKENS > 2 {
        finish(2, first, sums.t2, scales.z, lane);
    }
    if TOKENS > 3 {
        finish(3, first, sums.t3, scales.w, lane);
    }
}

fn finish(token: u32, first: u32, sums: vec4f, scale: f32, lane: u32) {
    let totals = scale * reduce_sum4(sums, lane);
    if lane < OUTPUTS && first + lane < params.rows {
        write(token, first + lane, totals[lane], totals[(lane + 2) % 4]);
    }
}
