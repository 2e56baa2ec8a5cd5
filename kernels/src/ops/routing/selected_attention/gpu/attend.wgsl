// Attention blocks of a list. A workgroup owns every `parts`-th tile of ROWS queries and walks tiles of KEYS keys with
// an online softmax: FlashAttention-2 (Dao, 2307.08691) over gathered rows.
//
//     scores    lane (x, y) computes rows y, y + Y, .. and keys 4x ..; queries and keys arrive in chunks of vectors
//     softmax   the X lanes of a row exchange their maxima; each keeps its part of the row's sum until the end
//     values    lane (x, y) sums vectors x, x + X, .. of the same rows; values arrive four keys at a time
//
// A masked score is NONE. The running maximum begins at FLOOR, so far above NONE that exp2 of the difference is 0.

@group(0) @binding(BLOCKS_BINDING) var<storage, read_write> blocks: array<f32>;
@group(0) @binding(LSE_BINDING) var<storage, read_write> lse: array<f32>;

const GROUP = 64u;
const X = 8u;
const Y = GROUP / X;
const ROWS = Y * PER;
const KEYS = 4 * X;
const CHUNK = 8u;
const STRIDE = CHUNK + 1;
const COLUMNS = (V4 + X - 1) / X;
const V_PADDED = X * COLUMNS;
// Offset of the values, which follow the weights.
const VALUES = ROWS * X;
const FLOOR = 0.5 * NONE;

var<workgroup> tile: array<vec4f, TILE>;
var<workgroup> shares: array<f32, ROWS * X>;
var<workgroup> tokens: array<u32, ROWS>;
var<workgroup> keys: array<Key, KEYS>;
var<workgroup> scales: array<f32, KEYS>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = id.y * ids.x + id.x;
    if index >= params.units * params.clusters * params.parts {
        return;
    }
    let list = index / params.parts;
    let unit = list / params.clusters;
    let own = queries_of(list);
    let others = keys_of(list);
    let count = own.y - own.x;
    let items = params.slots + others.y - others.x;
    let x = lane % X;
    let y = lane / X;
    for (var first = index % params.parts * ROWS; first < count; first += params.parts * ROWS) {
        let last = query_token(unit, own.x + min(first + ROWS, count) - 1);
        workgroupBarrier();
        for (var i = lane; i < ROWS; i += GROUP) {
            tokens[i] = query_token(unit, own.x + min(first + i, count - 1));
        }
        workgroupBarrier();
        var token: array<u32, PER>;
        var largest: array<f32, PER>;
        var sum: array<f32, PER>;
        var value: array<vec4f, PER * COLUMNS>;
        for (var r = 0u; r < PER; r += 1) {
            token[r] = tokens[y + Y * r];
            largest[r] = FLOOR;
            sum[r] = 0.0;
            for (var c = 0u; c < COLUMNS; c += 1) {
                value[r * COLUMNS + c] = vec4f();
            }
        }
        for (var start = 0u; start < items; start += KEYS) {
            // In an ascending list the causal mask hides this tile and all later ones.
            if CAUSAL && start >= params.slots {
                let position = lists[key_place(unit, others.x + start - params.slots)];
                if position > last && position - last > first_of(unit) {
                    break;
                }
            }
            workgroupBarrier();
            if lane < KEYS {
                keys[lane] = key_of(list, start + lane);
                scales[lane] = params.scale * key_factor(keys[lane]);
            }
            var score: array<vec4f, PER>;
            for (var r = 0u; r < PER; r += 1) {
                score[r] = vec4f();
            }
            for (var chunk = 0u; chunk < D4; chunk += CHUNK) {
                workgroupBarrier();
                let d = chunk + lane % CHUNK;
                for (var i = lane / CHUNK; i < ROWS; i += GROUP / CHUNK) {
                    var vector = vec4f();
                    if d < D4 {
                        vector = query_vector(row_of(unit, params.tokens, tokens[i]), d);
                    }
                    tile[i * STRIDE + lane % CHUNK] = vector;
                }
                for (var i = lane / CHUNK; i < KEYS; i += GROUP / CHUNK) {
                    var vector = vec4f();
                    if d < D4 {
                        vector = key_vector(keys[i], d);
                    }
                    // Key 4x + c is in row (c, x), so that lanes read adjacent rows.
                    tile[(ROWS + i / 4 + i % 4 * X) * STRIDE + lane % CHUNK] = vector;
                }
                workgroupBarrier();
                for (var i = 0u; i < CHUNK; i += 1) {
                    let at = (ROWS + x) * STRIDE + i;
                    let four = transpose(mat4x4f(
                        tile[at],
                        tile[at + X * STRIDE],
                        tile[at + 2 * X * STRIDE],
                        tile[at + 3 * X * STRIDE],
                    ));
                    for (var r = 0u; r < PER; r += 1) {
                        let q = tile[(y + Y * r) * STRIDE + i];
                        score[r] = q.w * four[3] + (q.z * four[2] + (q.y * four[1] + (q.x * four[0] + score[r])));
                    }
                }
            }
            for (var r = 0u; r < PER; r += 1) {
                for (var c = 0u; c < 4; c += 1) {
                    let key = keys[4 * x + c];
                    let z = select(score[r][c] * scales[4 * x + c], params.own_logit, OWN_LAST && token[r] == key.token);
                    score[r][c] = select(NONE, z, sees(token[r], key));
                }
                let s = score[r];
                shares[(y + Y * r) * X + x] = max(max(s.x, s.y), max(s.z, s.w));
            }
            // Barrier: the maxima are stored, and the last chunk is no longer in use.
            workgroupBarrier();
            for (var r = 0u; r < PER; r += 1) {
                let row = y + Y * r;
                var top = largest[r];
                for (var i = 0u; i < X; i += 1) {
                    top = max(top, shares[row * X + i]);
                }
                let factor = exp2(largest[r] - top);
                largest[r] = top;
                let w = exp2(score[r] - top);
                tile[row * X + x] = w;
                sum[r] = sum[r] * factor + (w.x + w.y + (w.z + w.w));
                for (var c = 0u; c < COLUMNS; c += 1) {
                    value[r * COLUMNS + c] *= factor;
                }
            }
            for (var step = 0u; step < X; step += STEP) {
                if step > 0 {
                    workgroupBarrier();
                }
                for (var i = y; i < 4 * STEP; i += Y) {
                    let key = keys[4 * step + i];
                    for (var c = 0u; c < COLUMNS; c += 1) {
                        if V_PADDED == V4 || x + X * c < V4 {
                            tile[VALUES + i * V_PADDED + x + X * c] = value_vector(key, x + X * c);
                        }
                    }
                }
                // Barrier: the values and, at the first step, the weights are stored.
                workgroupBarrier();
                for (var k = 0u; k < STEP; k += 1) {
                    var w: array<vec4f, PER>;
                    for (var r = 0u; r < PER; r += 1) {
                        w[r] = tile[(y + Y * r) * X + step + k];
                    }
                    for (var c = 0u; c < COLUMNS; c += 1) {
                        let at = VALUES + 4 * k * V_PADDED + x + X * c;
                        let v0 = tile[at];
                        let v1 = tile[at + V_PADDED];
                        let v2 = tile[at + 2 * V_PADDED];
                        let v3 = tile[at + 3 * V_PADDED];
                        for (var r = 0u; r < PER; r += 1) {
                            let i = r * COLUMNS + c;
                            value[i] = w[r].w * v3 + (w[r].z * v2 + (w[r].y * v1 + (w[r].x * v0 + value[i])));
                        }
                    }
                }
            }
        }
        workgroupBarrier();
        for (var r = 0u; r < PER; r += 1) {
            shares[(y + Y * r) * X + x] = sum[r];
        }
        workgroupBarrier();
        for (var r = 0u; r < PER; r += 1) {
            let row = y + Y * r;
            if first + row >= count || token[r] >= params.tokens {
                continue;
            }
            var total = 0.0;
            for (var i = 0u; i < X; i += 1) {
                total += shares[row * X + i];
            }
            let seen = largest[r] > FLOOR;
            let place = unit * params.entries + own.x + first + row;
            for (var c = 0u; c < COLUMNS; c += 1) {
                if x + X * c < V4 {
                    let block = select(vec4f(), value[r * COLUMNS + c] / max(total, 1e-30), seen);
                    store_block(place, x + X * c, block);
                }
            }
            if x == 0 {
                lse[params.lse_start + place] = select(NONE, LN_2 * (largest[r] + log2(max(total, 1e-30))), seen);
            }
        }
    }
}

fn key_place(unit: u32, place: u32) -> u32 {
    return params.key_members + unit * params.key_entries + place;
}

fn store_block(place: u32, i: u32, block: vec4f) {
    for (var c = 0u; c < 4; c += 1) {
        if V % 4 == 0 || 4 * i + c < V {
            blocks[params.blocks_start + place * V + 4 * i + c] = block[c];
        }
    }
}
