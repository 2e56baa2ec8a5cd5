// Precomputes (log2(e) lse, delta, log2(e) slope, 0) of each row (token, h) for the other passes. LANES lanes own a
// row, GROUP lanes a workgroup.

const LOG2_E = 1.44269504;
const NONE = -3.0e38;

struct Params {
    rows: u32,
    heads: u32,
    out_start: u32,
    lse_start: u32,
    alibi_start: u32,
    dout_start: u32,
}

@group(0) @binding(0) var<storage, read> out: array<f32>;
@group(0) @binding(1) var<storage, read> lse: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> rows: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> shares: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (id.y * ids.x + id.x) * (GROUP / LANES) + lane / LANES;
    let x = lane % LANES;
    var share = 0.0;
    if row < params.rows {
        for (var i = x; i < V; i += LANES) {
            share += dout[params.dout_start + row * V + i] * out[params.out_start + row * V + i];
        }
    }
    shares[lane] = share;
    workgroupBarrier();
    if x != 0 || row >= params.rows {
        return;
    }
    var delta = 0.0;
    for (var i = 0u; i < LANES; i += 1) {
        delta += shares[lane + i];
    }
    // A row without visible keys has no finite lse.
    let saved = lse[params.lse_start + row];
    rows[row] = vec4f(select(LOG2_E * saved, 0.0, saved <= NONE), delta, LOG2_E * slope(row % params.heads), 0.0);
}
