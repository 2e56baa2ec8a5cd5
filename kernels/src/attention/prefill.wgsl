// Many queries: a workgroup owns ROWS rows of one key head, a row being a query of one of the head's GROUPED query heads,
// and walks tiles of KEYS keys. FlashAttention-2 (Dao, 2307.08691) with all of a tile's operands in workgroup memory:
//
//   scores    lane (x, y) holds those of rows y PER .. and keys 4x ..; keys come in chunks of CHUNK vectors of each
//   softmax   the eight lanes of a row exchange their maxima; each keeps its share of the row's sum until the end
//   values    lane (x, y) holds vectors x, x + 8, .. of the same rows; values come STEP keys at a time
//
// Both products are outer products of registers: PER x 4 x 4 and PER x COLUMNS x 16 multiply-adds for PER + 4 and
// PER + 4 COLUMNS loads of a vector.

const KEYS = 32u;
// Vectors between two rows of a chunk of keys: odd, so that eight rows lie in different banks.
const STRIDE = CHUNK | 1;
// Whether chunks divide a row.
const EVEN = D4 % CHUNK == 0;
const V_PADDED = 8 * COLUMNS;

var<workgroup> rows: array<vec4f, ROWS * D4>;
var<workgroup> tile: array<vec4f, TILE>;
// [ROWS, 8]: exp2 of the scores, four keys in a vector
var<workgroup> weights: array<vec4f, ROWS * 8>;
var<workgroup> shares: array<f32, ROWS * 8>;
var<workgroup> key_rows: array<u32, KEYS>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let count = params.queries * GROUPED;
    let tiles = (count + ROWS - 1) / ROWS;
    let index = id.y * ids.x + id.x;
    if index >= tiles * params.kv_heads * params.batch {
        return;
    }
    // The last queries see the most keys: they begin first.
    let first = (tiles - 1 - index % tiles) * ROWS;
    let g = index / tiles % params.kv_heads;
    let b = index / tiles / params.kv_heads;
    let length = length_of(b);
    let x = lane % 8;
    let y = lane / 8;

    for (var i = lane; i < ROWS * D4; i += GROUP) {
        let row = min(first + i / D4, count - 1);
        let token = b * params.queries + row / GROUPED;
        rows[i] = load_q(params.q_start + token * params.q_stride + (g * GROUPED + row % GROUPED) * K_WIDTH, i % D4);
    }

    var position: array<i32, PER>;
    var largest: array<f32, PER>;
    var sum: array<f32, PER>;
    var value: array<vec4f, PER * COLUMNS>;
    for (var r = 0u; r < PER; r += 1) {
        position[r] = position_of(min(first + y * PER + r, count - 1) / GROUPED, length);
        largest[r] = NONE;
        sum[r] = 0.0;
        for (var c = 0u; c < COLUMNS; c += 1) {
            value[r * COLUMNS + c] = vec4f();
        }
    }

    let nearest = position_of(first / GROUPED, length);
    let farthest = position_of((min(first + ROWS, count) - 1) / GROUPED, length);
    let span = reach(nearest, farthest, length);
    for (var start = span.x / KEYS * KEYS; start < span.y; start += KEYS) {
        if lane < KEYS {
            // Behind the last key it stands again, where nothing sees it: what memory holds there must not be read.
            key_rows[lane] = key_row(b, min(start + lane, length - 1));
        }
        var score: array<vec4f, PER>;
        for (var r = 0u; r < PER; r += 1) {
            score[r] = vec4f();
        }
        for (var chunk = 0u; chunk < D4; chunk += CHUNK) {
            // The rows of keys are known, and what stood in the tile has been used.
            workgroupBarrier();
            for (var n = 0u; n < (KEYS * CHUNK + GROUP - 1) / GROUP; n += 1) {
                let i = n * GROUP + lane;
                let j = i / CHUNK;
                let d = i % CHUNK;
                if (KEYS * CHUNK % GROUP == 0 || j < KEYS) && (EVEN || chunk + d < D4) {
                    let at = params.k_start + (key_rows[j] * params.kv_heads + g) * K_WIDTH;
                    // Keys 4x .. 4x + 3 of lane x lie eight rows apart.
                    tile[(j / 4 + j % 4 * 8) * STRIDE + d] = load_k(at, chunk + d);
                }
            }
            workgroupBarrier();
            let width = min(CHUNK, D4 - chunk);
            for (var d = 0u; d < width; d += 1) {
                let at = x * STRIDE + d;
                let keys = transpose(
                    mat4x4f(tile[at], tile[at + 8 * STRIDE], tile[at + 16 * STRIDE], tile[at + 24 * STRIDE]));
                for (var r = 0u; r < PER; r += 1) {
                    let q = rows[(y * PER + r) * D4 + chunk + d];
                    score[r] = q.w * keys[3] + (q.z * keys[2] + (q.y * keys[1] + (q.x * keys[0] + score[r])));
                }
            }
        }

        // Whether every row sees every key of the tile.
        let whole = start + KEYS <= length && visible(start + KEYS - 1, nearest) && visible(start, farthest);
        for (var r = 0u; r < PER; r += 1) {
            let h = g * GROUPED + (first + y * PER + r) % GROUPED;
            for (var c = 0u; c < 4; c += 1) {
                let key = start + 4 * x + c;
                let seen = whole || (key < length && visible(key, position[r]));
                score[r][c] = select(NONE, logit(score[r][c], key, position[r], h), seen);
            }
            let s = score[r];
            shares[(y * PER + r) * 8 + x] = max(max(s.x, s.y), max(s.z, s.w));
        }
        workgroupBarrier();
        for (var r = 0u; r < PER; r += 1) {
            let row = y * PER + r;
            var top = largest[r];
            for (var i = 0u; i < 8; i += 1) {
                top = max(top, shares[row * 8 + i]);
            }
            let factor = rescale(largest[r], top);
            largest[r] = top;
            let s = score[r];
            let w = select(exp2(s - top), vec4f(), s <= vec4f(NONE));
            weights[row * 8 + x] = w;
            sum[r] = sum[r] * factor + w.x + w.y + w.z + w.w;
            for (var c = 0u; c < COLUMNS; c += 1) {
                value[r * COLUMNS + c] *= factor;
            }
        }

        for (var step = 0u; step < KEYS; step += STEP) {
            // The weights are there, and what stood in the tile has been used.
            workgroupBarrier();
            for (var n = 0u; n < (STEP * V_PADDED + GROUP - 1) / GROUP; n += 1) {
                let i = n * GROUP + lane;
                let j = i / V_PADDED;
                let d = i % V_PADDED;
                if (STEP * V_PADDED % GROUP == 0 || j < STEP) && (V_PADDED == V4 || d < V4) {
                    tile[i] = load_v(params.v_start + (key_rows[step + j] * params.kv_heads + g) * V_WIDTH, d);
                }
            }
            workgroupBarrier();
            for (var j = 0u; j < STEP; j += 4) {
                var w: array<vec4f, PER>;
                for (var r = 0u; r < PER; r += 1) {
                    w[r] = weights[(y * PER + r) * 8 + (step + j) / 4];
                }
                for (var c = 0u; c < COLUMNS; c += 1) {
                    let at = j * V_PADDED + x + 8 * c;
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

    for (var r = 0u; r < PER; r += 1) {
        shares[(y * PER + r) * 8 + x] = sum[r];
    }
    workgroupBarrier();
    for (var r = 0u; r < PER; r += 1) {
        let row = first + y * PER + r;
        if row >= count {
            continue;
        }
        var total = 0.0;
        for (var i = 0u; i < 8; i += 1) {
            total += shares[(y * PER + r) * 8 + i];
        }
        let h = g * GROUPED + row % GROUPED;
        let at = (b * params.queries + row / GROUPED) * params.kv_heads * GROUPED + h;
        for (var c = 0u; c < COLUMNS; c += 1) {
            if x + 8 * c < V4 {
                finish(at, h, 0, x + 8 * c, largest[r], total, value[r * COLUMNS + c]);
            }
        }
    }
}
