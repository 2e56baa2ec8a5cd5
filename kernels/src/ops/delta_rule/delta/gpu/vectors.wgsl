// Prepares the state update of a token and value head: for each channel (decay, read key, key,
// query), and the written value of each column. With LOGS the decay is stored as its
// logarithm, and the read key applies to the decayed state. Rows have KEYS channels and VALUES
// columns, padded with 0. A workgroup owns a row (sequence, token of the piece, value head).

struct Params {
    rows: u32,
    // `tokens`: tokens of a sequence. `first` and `count`: the piece's range of them.
    tokens: u32,
    first: u32,
    count: u32,
    scale: f32,
    eps: f32,
    q_start: u32,
    k_start: u32,
    v_start: u32,
    beta_start: u32,
    g_start: u32,
    erase_start: u32,
    write_start: u32,
    a_start: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> vectors: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> written: array<f32>;
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
    let head = index % VALUE_HEADS;
    let token = piece / params.count * params.tokens + params.first + piece % params.count;
    let row = token * VALUE_HEADS + head;
    let key_row = (token * HEADS + head / (VALUE_HEADS / HEADS)) * K;
    let factors = factors_of(params.q_start + key_row, params.k_start + key_row, lane);
    for (var i = lane; i < KEYS; i += GROUP) {
        var channel = vec4f();
        if i < K {
            let log_decay = log_decay_of(row, i);
            let decay = select(exp(log_decay), 0.0, log_decay <= -100.0);
            let key = factors.y * k[params.k_start + key_row + i];
            let query = params.scale * factors.x * q[params.q_start + key_row + i];
            let logs = vec4f(log_decay, erase_of(row, i) * key, key, query);
            channel = select(vec4f(decay, read_of(row, i, key, decay), key, query), logs, LOGS);
        }
        vectors[index * KEYS + i] = channel;
    }
    for (var i = lane; i < VALUES; i += GROUP) {
        var value = 0.0;
        if i < V {
            value = write_of(row, i) * v[params.v_start + row * V + i];
        }
        written[index * STRIDE + i] = value;
    }
}
