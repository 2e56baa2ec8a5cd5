// Turns the gradients of read keys and written values into those of the arguments that each value head has of its own.
// A workgroup owns a row (sequence, token of the piece, value head).

struct Params {
    rows: u32,
    tokens: u32,
    first: u32,
    count: u32,
    v_start: u32,
    dv_start: u32,
    beta_start: u32,
    write_start: u32,
    dbeta_start: u32,
    dwrite_start: u32,
    dg_start: u32,
}

@group(0) @binding(0) var<storage, read> solved: array<f32>;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> dv: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = id.y * ids.x + id.x;
    if index >= params.rows {
        return;
    }
    let piece = index / VALUE_HEADS;
    let token = piece / params.count * params.tokens + params.first + piece % params.count;
    let row = token * VALUE_HEADS + index % VALUE_HEADS;
    var share = 0.0;
    for (var i = lane; i < V; i += GROUP) {
        let by_written = solved[(2 * index + 1) * 4 * V4 + i];
        dv[params.dv_start + row * V + i] = write_of(row, i) * by_written;
        share += by_gate(row, i, v[params.v_start + row * V + i] * by_written);
    }
    var decay = 0.0;
    for (var i = lane; i < K; i += GROUP) {
        let by = gradients[index * 4 * K4 + i];
        share += by_reading(index, i, by.y);
        decay += by_decay(row, i, by.x);
    }
    finish_gate(row, lane, share);
    finish_decay(row, lane, decay);
}
