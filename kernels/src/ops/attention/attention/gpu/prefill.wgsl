// Prefill attention, many queries. A workgroup owns ROWS rows of one key head and walks
// tiles of KEYS keys. A row is a query of one of the head's GROUPED query heads.
// FlashAttention-2 (Dao, 2307.08691), with all of a tile's operands in workgroup memory:
//
//     scores    lane (x, y) computes rows y PER .. and keys 4x ..; keys arrive in chunks of CHUNK vectors each
//     softmax   the X lanes of a row exchange their maxima; each keeps its part of the row's sum until the end
//     values    lane (x, y) computes vectors x, x + X, .. of the same rows; values arrive STEP keys at a time
//
// Both products are outer products in registers: PER x 4 x 4 and PER x COLUMNS x 16
// multiply-adds for PER + 4 and PER + 4 COLUMNS vector reads. A masked score is NONE. The
// running maximum begins at FLOOR, so far above NONE that exp2 of the difference is 0.

const Y = GROUP / X;
const KEYS = 4 * X;
// Vectors between two rows of a chunk of keys: odd, so that eight rows are in different banks.
const STRIDE = CHUNK | 1;
// True if chunks divide a row.
const EVEN = D4 % CHUNK == 0;
// Chunk vectors per loop iteration: manual unrolling, since not every compiler unrolls the loop.
const UNROLLED = min(CHUNK, 4);
const FLOOR = 0.5 * NONE;
// Keys of a chunk loaded at once by all lanes, and number of such loads.
const AT_ONCE = GROUP / CHUNK;
const LOADS = (KEYS + AT_ONCE - 1) / AT_ONCE;
const V_PADDED = X * COLUMNS;
// Vectors of a row in workgroup memory: the whole query, or a chunk of it.
const Q4 = select(CHUNK, D4, WHOLE);

var<workgroup> rows: array<vec4f, ROWS * Q4>;
// Rows of the tile's keys, counted in heads.
var<workgroup> key_rows: array<u32, KEYS>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (params.queries * GROUPED + ROWS - 1) / ROWS;
    let index = id.y * ids.x + id.x;
    if index >= tiles * params.kv_heads * params.batch {
        return;
    }
    // The last queries see the most keys, so they are scheduled first.
    let first = (tiles - 1 - index % tiles) * ROWS;
    let g = index / tiles % params.kv_heads;
    let b = index / tiles / params.kv_heads;
    let length = length_of(b);
    let queries = queries_of(b);
    let count = queries * GROUPED;
    if first >= count {
        return;
    }
    let token0 = first_query(b);
    let x = lane % X;
    let y = lane / X;

    if WHOLE {
        for (var i = lane; i < ROWS * D4; i += GROUP) {
            rows[i] = scaled_query(min(first + i / D4, count - 1), token0, g, i % D4);
        }
    }

    var position: array<i32, PER>;
    // End of the visible keys.
    var end: array<i32, PER>;
    var largest: array<f32, PER>;
    var sum: array<f32, PER>;
    var value: array<vec4f, PER * COLUMNS>;
    for (var r = 0u; r < PER; r += 1) {
        position[r] = position_of(min(first + y * PER + r, count - 1) / GROUPED, length, queries);
        end[r] = select(i32(length), min(i32(length), position[r] + 1 + i32(params.ahead)), CAUSAL);
        largest[r] = FLOOR;
        sum[r] = 0.0;
        for (var c = 0u; c < COLUMNS; c += 1) {
            value[r * COLUMNS + c] = vec4f();
        }
    }

    let nearest = position_of(first / GROUPED, length, queries);
    let farthest = position_of((min(first + ROWS, count) - 1) / GROUPED, length, queries);
    let span = reach(nearest, farthest, length);
    // This lane loads vector `d` of keys `j`, `j` + AT_ONCE, ..
    let d = lane % CHUNK;
    let j = lane / CHUNK;
    let key_to = (j / 4 + j % 4 * X) * STRIDE + d;
    for (var start = span.x / KEYS * KEYS; start < span.y; start += KEYS) {
        for (var i = lane; i < KEYS; i += GROUP) {
            // Keys before the first and after the last are replaced by those two, which the mask then hides. Memory
            // outside of the range must not be read.
            key_rows[i] = key_row(b, min(max(start + i, span.x), length - 1)) * params.kv_heads + g;
        }
        // Barrier: the key rows are stored, and the tile's previous contents are no longer in use.
        workgroupBarrier();
        var places: array<u32, LOADS>;
        for (var n = 0u; n < LOADS; n += 1) {
            places[n] = params.k_start + key_rows[min(j + n * AT_ONCE, KEYS - 1)] * K_WIDTH;
        }
        var score: array<vec4f, PER>;
        for (var r = 0u; r < PER; r += 1) {
            score[r] = vec4f();
        }
        for (var chunk = 0u; chunk < D4; chunk += CHUNK) {
            if chunk > 0 {
                workgroupBarrier();
            }
            if !WHOLE {
                for (var i = lane; i < ROWS * CHUNK; i += GROUP) {
                    if EVEN || chunk + i % CHUNK < D4 {
                        rows[i] = scaled_query(min(first + i / CHUNK, count - 1), token0, g, chunk + i % CHUNK);
                    }
                }
            }
            if (EVEN || chunk + d < D4) && (AT_ONCE <= KEYS || j < KEYS) {
                for (var n = 0u; n < LOADS; n += 1) {
                    tile[key_to + n * (AT_ONCE / 4 * STRIDE)] = load_k(places[n], chunk + d);
                }
            }
            workgroupBarrier();
            let width = select(min(CHUNK, D4 - chunk), CHUNK, EVEN);
            for (var i = 0u; i < width; i += UNROLLED) {
                for (var u = 0u; u < UNROLLED; u += 1) {
                    if EVEN || i + u < width {
                        add_product(&score, x * STRIDE + i + u, y * PER * Q4 + select(0u, chunk, WHOLE) + i + u);
                    }
                }
            }
        }

        let mine = start + 4 * x;
        for (var r = 0u; r < PER; r += 1) {
            let h = g * GROUPED + (first + y * PER + r) % GROUPED;
            let bias_at = bias_row(b, h, min(first + y * PER + r, count - 1) / GROUPED);
            let last = end[r] - i32(mine);
            let behind = position[r] - i32(mine);
            for (var c = 0u; c < 4; c += 1) {
                let seen = i32(c) < last && (!WINDOW || behind - i32(c) < i32(params.window));
                score[r][c] = select(NONE, logit_of_scaled(score[r][c], mine + c, position[r], h, bias_at), seen);
            }
            let s = score[r];
            leave(lane, r, max(max(s.x, s.y), max(s.z, s.w)));
        }
        // Barrier: the maxima are stored, and the last chunk is no longer in use.
        workgroupBarrier();
        for (var r = 0u; r < PER; r += 1) {
            let row = y * PER + r;
            let s = score[r];
            let top = max(largest[r], largest_of(lane, r, max(max(s.x, s.y), max(s.z, s.w))));
            let factor = exp2(largest[r] - top);
            largest[r] = top;
            let w = exp2(score[r] - top);
            keep_weights(row * X + x, w);
            sum[r] = sum[r] * factor + (w.x + w.y + (w.z + w.w));
            for (var c = 0u; c < COLUMNS; c += 1) {
                value[r * COLUMNS + c] *= factor;
            }
        }

        for (var step = 0u; step < KEYS; step += STEP) {
            if step > 0 {
                workgroupBarrier();
            }
            for (var n = 0u; n < STEP; n += Y) {
                if STEP % Y == 0 || n + y < STEP {
                    let place = params.v_start + key_rows[step + n + y] * V_WIDTH;
                    for (var c = 0u; c < COLUMNS; c += 1) {
                        if V_PADDED == V4 || x + X * c < V4 {
                            tile[VALUES + (n + y) * V_PADDED + x + X * c] = load_v(place, x + X * c);
                        }
                    }
                }
            }
            // Barrier: the values and, at the first step, the weights are stored.
            workgroupBarrier();
            for (var k = 0u; k < STEP; k += 4) {
                var w: array<vec4f, PER>;
                for (var r = 0u; r < PER; r += 1) {
                    w[r] = weights_at((y * PER + r) * X + (step + k) / 4);
                }
                for (var c = 0u; c < COLUMNS; c += 1) {
                    let at = VALUES + k * V_PADDED + x + X * c;
                    let v0 = kept(at);
                    let v1 = kept(at + V_PADDED);
                    let v2 = kept(at + 2 * V_PADDED);
                    let v3 = kept(at + 3 * V_PADDED);
                    for (var r = 0u; r < PER; r += 1) {
                        let i = r * COLUMNS + c;
                        value[i] = w[r].w * v3 + (w[r].z * v2 + (w[r].y * v1 + (w[r].x * v0 + value[i])));
                    }
                }
            }
        }
    }

    for (var r = 0u; r < PER; r += 1) {
        leave(lane, r, sum[r]);
    }
    settle();
    for (var r = 0u; r < PER; r += 1) {
        let row = first + y * PER + r;
        let total = sum_of(lane, r, sum[r]);
        if row >= count {
            continue;
        }
        let h = g * GROUPED + row % GROUPED;
        let at = (token0 + row / GROUPED) * params.kv_heads * GROUPED + h;
        let top = select(largest[r], NONE, largest[r] <= FLOOR);
        for (var c = 0u; c < COLUMNS; c += 1) {
            if x + X * c < V4 {
                finish(at, h, 0, x + X * c, top, total, value[r * COLUMNS + c]);
            }
        }
    }
}

// Returns vector `i` of a row's query, times the scale.
fn scaled_query(row: u32, token0: u32, g: u32, i: u32) -> vec4f {
    let at = params.q_start + (token0 + row / GROUPED) * params.q_stride + (g * GROUPED + row % GROUPED) * Q_WIDTH;
    return params.scale * load_q(at, i);
}

// Adds the products of vector `q_at` of PER rows with the vectors of four keys, the first of them `k_at`.
fn add_product(score: ptr<function, array<vec4f, PER>>, k_at: u32, q_at: u32) {
    let keys = transpose(mat4x4f(
        kept(k_at),
        kept(k_at + X * STRIDE),
        kept(k_at + 2 * X * STRIDE),
        kept(k_at + 3 * X * STRIDE),
    ));
    for (var r = 0u; r < PER; r += 1) {
        let q = rows[q_at + r * Q4];
        (*score)[r] = q.w * keys[3] + (q.z * keys[2] + (q.y * keys[1] + (q.x * keys[0] + (*score)[r])));
    }
}
