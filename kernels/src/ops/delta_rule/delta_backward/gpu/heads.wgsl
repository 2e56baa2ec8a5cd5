// dq and dk: sums the contributions of a head's value heads, in
// order. A workgroup owns a row (sequence, token of the piece, head).

struct Params {
    rows: u32,
    tokens: u32,
    first: u32,
    count: u32,
    scale: f32,
    eps: f32,
    q_start: u32,
    k_start: u32,
    dq_start: u32,
    dk_start: u32,
    beta_start: u32,
    erase_start: u32,
    derase_start: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dq: array<f32>;
@group(0) @binding(4) var<storage, read_write> dk: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// Gradients of the normalised queries and keys, [K].
var<workgroup> sums: array<vec2f, K>;

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
    let piece = index / HEADS;
    let token = piece / params.count * params.tokens + params.first + piece % params.count;
    let row = (token * HEADS + index % HEADS) * K;
    let factors = factors_of(params.q_start + row, params.k_start + row, lane);
    let value_heads = VALUE_HEADS / HEADS;
    var share = vec2f();
    for (var i = lane; i < K; i += GROUP) {
        let x = factors * vec2f(q[params.q_start + row + i], k[params.k_start + row + i]);
        var sum = vec2f();
        for (var h = 0u; h < value_heads; h += 1) {
            let by = gradients[(index * value_heads + h) * 4 * K4 + i];
            let value_row = (token * HEADS + index % HEADS) * value_heads + h;
            sum += vec2f(params.scale * by.w, by.z + erase_of(value_row, i) * by.y);
            erased(value_row, i, x.y * by.y);
        }
        sums[i] = sum;
        share += x * sum;
    }
    let along = along_of(share, lane);
    for (var i = lane; i < K; i += GROUP) {
        let x = factors * vec2f(q[params.q_start + row + i], k[params.k_start + row + i]);
        let by = factors * (sums[i] - x * along);
        dq[params.dq_start + row + i] = by.x;
        dk[params.dk_start + row + i] = by.y;
    }
}
