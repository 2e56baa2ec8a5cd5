// Token by token. Each invocation owns one state column, kept in workgroup memory; columns are independent, so no
// barrier is needed. A workgroup owns GROUP columns of a value head of a sequence.

struct Params {
    units: u32,
    // `tokens`: tokens of a sequence, or of all if packed. `first` and `count`: the piece's range of them.
    tokens: u32,
    first: u32,
    count: u32,
    // Number of states.
    slots: u32,
    states_start: u32,
    out_start: u32,
    cu_start: u32,
    slots_start: u32,
    b_start: u32,
    // K as a uniform: an unknown trip count stops the compiler
    // from unrolling a loop into more registers than there are.
    key_dim: u32,
}

@group(0) @binding(0) var<storage, read> vectors: array<vec4f>;
@group(0) @binding(1) var<storage, read> written: array<f32>;
@group(0) @binding(2) var<storage, read_write> states: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// [K, GROUP]
var<workgroup> columns: array<f32, COLUMNS>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = id.y * ids.x + id.x;
    let column = unit % BLOCKS * GROUP + lane;
    if unit >= params.units || column >= V {
        return;
    }
    let head = unit / BLOCKS % VALUE_HEADS;
    let n = unit / BLOCKS / VALUE_HEADS;
    let tokens = tokens_of(n);
    let first = max(tokens.x, params.first);
    let end = min(tokens.y, params.first + params.count);
    let slot = slot_of(n);
    let out_row = params.out_start + (batch_of(n) * params.tokens * VALUE_HEADS + head) * V + column;
    if slot >= params.slots {
        for (var t = first; t < end; t += 1) {
            out[out_row + t * VALUE_HEADS * V] = 0.0;
        }
        return;
    }
    let state = params.states_start + (slot * VALUE_HEADS + head) * K * V + column;
    for (var i = 0u; i < params.key_dim; i += 1) {
        columns[i * GROUP + lane] = states[state + i * V];
    }
    for (var t = first; t < end; t += 1) {
        let row = (batch_of(n) * params.count + t - params.first) * VALUE_HEADS + head;
        var held = 0.0;
        for (var i = 0u; i < params.key_dim; i += 1) {
            held = fma(vectors[row * K + i].y, columns[i * GROUP + lane], held);
        }
        let update = update_of(written[row * V + column], held);
        var sum = 0.0;
        for (var i = 0u; i < params.key_dim; i += 1) {
            let x = vectors[row * K + i];
            let kept = fma(x.z, update, x.x * columns[i * GROUP + lane]);
            let value = along_of((batch_of(n) * params.tokens + t) * VALUE_HEADS + head, i, held, kept);
            columns[i * GROUP + lane] = value;
            sum = fma(x.w, value, sum);
        }
        out[out_row + t * VALUE_HEADS * V] = sum;
    }
    for (var i = 0u; i < params.key_dim; i += 1) {
        states[state + i * V] = columns[i * GROUP + lane];
    }
}
