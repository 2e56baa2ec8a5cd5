// y[t, n] for TOKENS <= 4 tokens: a workgroup owns 4 outputs, its GROUP lanes split K into units of 8 weights.
//
// Neighbouring lanes read neighbouring units: 16 bytes at once of f16 and bf16, 2 x 16 of f32, a word of nibbles in both
// halves of Q4. Each weight is read once for all tokens, each x once for 4 outputs (from a cache, after the first
// workgroups), so the bytes are those of the weights: 4, 2, 2, 1.06, 0.56 and 0.63 a weight, for 2 TOKENS flop.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * 4;
    if first >= params.rows {
        return;
    }
    // Rows behind the last are computed as the last and not written.
    let rows = min(vec4u(first) + vec4u(0, 1, 2, 3), vec4u(params.rows - 1));
    var sums0 = vec4f();
    var sums1 = vec4f();
    var sums2 = vec4f();
    var sums3 = vec4f();
    let units = (params.width + 7) / 8;
    for (var unit = lane; unit < units; unit += GROUP) {
        let a = weight8(rows.x, unit);
        let b = weight8(rows.y, unit);
        let c = weight8(rows.z, unit);
        let d = weight8(rows.w, unit);
        let near = mat4x4f(a.near, b.near, c.near, d.near);
        let far = mat4x4f(a.far, b.far, c.far, d.far);
        let k = unit_start(unit);
        sums0 += x4(0, k) * near + x4(0, k + FAR) * far;
        if TOKENS > 1 {
            sums1 += x4(1, k) * near + x4(1, k + FAR) * far;
        }
        if TOKENS > 2 {
            sums2 += x4(2, k) * near + x4(2, k + FAR) * far;
        }
        if TOKENS > 3 {
            sums3 += x4(3, k) * near + x4(3, k + FAR) * far;
        }
    }
    finish(0, first, sums0, lane);
    if TOKENS > 1 {
        finish(1, first, sums1, lane);
    }
    if TOKENS > 2 {
        finish(2, first, sums2, lane);
    }
    if TOKENS > 3 {
        finish(3, first, sums3, lane);
    }
}

fn finish(token: u32, first: u32, sums: vec4f, lane: u32) {
    let totals = reduce_sum4(sums, lane);
    if lane < 4 && first + lane < params.rows {
        write(token, first + lane, totals[lane]);
    }
}
