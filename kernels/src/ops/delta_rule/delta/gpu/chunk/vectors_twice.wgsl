// Fills `vectors` where a token is two rows: the first one decays the state, reads it along `a` and writes along `b`, the
// second one writes the value along the key and has the query. What `a` reads is divided by the decay, as rows read the
// decayed state. A workgroup owns the rows of a chunk and a value head; each lane walks the rows with one channel.

// The strongest decay of a token, whose inverse is finite.
const STRONGEST = -60.0;

struct Params {
    units: u32,
    // `tokens`: rows of a sequence, or of all if packed. `first` and `count`: the piece's range of them.
    tokens: u32,
    first: u32,
    count: u32,
    sequences: u32,
    scale: f32,
    eps: f32,
    q_start: u32,
    k_start: u32,
    v_start: u32,
    g_start: u32,
    a_start: u32,
    b_start: u32,
    cu_start: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> vectors: array<f32>;
@group(0) @binding(GATES_BINDING) var<storage, read> a: array<f32>;
@group(0) @binding(WRITE_BINDING) var<storage, read> b: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = id.y * ids.x + id.x;
    if unit >= params.units {
        return;
    }
    let head = unit % VALUE_HEADS;
    let chunk = chunk_of(unit / VALUE_HEADS);
    // Offset of the chunk's first token in the arguments. Pieces and chunks have whole tokens.
    let token = (batch_of(chunk.n) * params.tokens + params.first + chunk.first) / 2;
    let key_row = token * HEADS + head / (VALUE_HEADS / HEADS);
    let row = token * VALUE_HEADS + head;
    let to = 4 * ROW * row_of(chunk.n, chunk.first, head);
    fill_factors(key_row, chunk.tokens / 2, lane);
    for (var i = lane; i < 4 * K4; i += GROUP) {
        var sum = 0.0;
        for (var t = 0u; t < chunk.tokens; t += 1) {
            let at = (key_row + t / 2 * HEADS) * K + i;
            let gates = row + t / 2 * VALUE_HEADS;
            let out = to + t * VALUE_HEADS * 4 * ROW + i;
            var vector = vec3f();
            if K % 4 == 0 || i < K {
                if t % 2 == 0 {
                    let decay = max(log_decay_of(gates, i), STRONGEST);
                    sum += decay;
                    vector = vec3f(0, b[params.b_start + gates * K + i], -exp(-decay) * a[params.a_start + gates * K + i]);
                } else {
                    let pair = vec2f(params.scale * q[params.q_start + at], k[params.k_start + at]);
                    vector = vec3f(factor_of(t / 2) * pair, 0);
                }
            }
            vectors[out] = vector.x;
            vectors[out + 4 * KEY] = vector.y;
            vectors[out + 4 * READ] = vector.z;
            vectors[out + 4 * SUM] = sum;
        }
    }
    for (var i = lane; i < 4 * V4; i += GROUP) {
        for (var t = 0u; t < chunk.tokens; t += 1) {
            let gates = row + t / 2 * VALUE_HEADS;
            var written = 0.0;
            if t % 2 == 1 && (V % 4 == 0 || i < V) {
                written = v[params.v_start + gates * V + i];
            }
            vectors[to + t * VALUE_HEADS * 4 * ROW + 4 * WRITTEN + i] = written;
        }
    }
}
