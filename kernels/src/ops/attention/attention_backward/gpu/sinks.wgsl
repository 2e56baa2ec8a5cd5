// Gradient of the sinks: one workgroup per head sums over its rows.

const LOG2_E = 1.44269504;

struct Params {
    batch: u32,
    queries: u32,
    heads: u32,
    // Packed only: rows of q.
    q_rows: u32,
    cu_q_start: u32,
    sinks_start: u32,
    dsinks_start: u32,
}

@group(0) @binding(0) var<storage, read> sinks: array<f32>;
// [tokens, H]: see rows.wgsl.
@group(0) @binding(1) var<storage, read> rows: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dsinks: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let h = id.y * ids.x + id.x;
    if h >= params.heads {
        return;
    }
    let sink = LOG2_E * sinks[params.sinks_start + h];
    var share = 0.0;
    for (var b = 0u; b < params.batch; b += 1) {
        let first = first_query(b);
        let queries = queries_of(b);
        for (var t = lane; t < queries; t += GROUP) {
            let row = rows[(first + t) * params.heads + h];
            share -= exp2(clamp(sink - row.x, -1.0e3, 120.0)) * row.y;
        }
    }
    let total = reduce_sum(share, lane);
    if lane == 0 {
        dsinks[params.dsinks_start + h] = total;
    }
}
