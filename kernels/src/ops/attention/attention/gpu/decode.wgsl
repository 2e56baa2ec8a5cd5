// Decode attention, few queries over many keys. A workgroup owns ROWS rows of one key head and one split of the keys.
// A row is a query of one of the head's GROUPED query heads, so each key is read once for all of them. The workgroup
// walks its split in tiles of KEYS keys:
//
//     scores    four lanes per key, each a quarter of the dot product, read straight from global memory
//     softmax   WIDTH lanes per row
//     values    V4 lanes per key, each one vector of the sum for all rows
//
// `finish` receives the split's partial result. Source: split keys as in FlashDecoding (Dao et al., 2023).

// Keys whose values are read at once.
const AT_ONCE = GROUP / V4;

var<workgroup> rows: array<vec4f, ROWS * D4>;
// [ROWS, KEYS, QUARTERS]: quarters of each dot product. Entry 0 later holds the logit, then the weight.
var<workgroup> scores: array<f32, ROWS * KEYS * QUARTERS>;
var<workgroup> factors: array<f32, ROWS>;
// (largest logit, sum of weights)
var<workgroup> states: array<vec2f, ROWS>;
var<workgroup> key_rows: array<u32, KEYS>;
var<workgroup> sums: array<vec4f, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (params.queries * GROUPED + ROWS - 1) / ROWS;
    let index = id.y * ids.x + id.x;
    if index >= params.splits * tiles * params.kv_heads * params.batch {
        return;
    }
    let split = index % params.splits;
    let first = index / params.splits % tiles * ROWS;
    let g = index / params.splits / tiles % params.kv_heads;
    let b = index / params.splits / tiles / params.kv_heads;
    let length = length_of(b);
    let queries = queries_of(b);
    let count = queries * GROUPED;
    if first >= count {
        return;
    }
    let token0 = first_query(b);

    for (var i = lane; i < ROWS * D4; i += GROUP) {
        let row = min(first + i / D4, count - 1);
        let token = token0 + row / GROUPED;
        rows[i] = load_q(params.q_start + token * params.q_stride + (g * GROUPED + row % GROUPED) * Q_WIDTH, i % D4);
    }

    // Softmax: the row of this lane.
    let r = lane / WIDTH;
    let mine = min(first + r, count - 1);
    let position = position_of(mine / GROUPED, length, queries);
    let bias_at = bias_row(b, g * GROUPED + mine % GROUPED, mine / GROUPED);
    var largest = NONE;
    var sum = 0.0;
    // Values: the vector of this lane, and the first key of its share.
    let column = lane % V4;
    let share = lane / V4;
    var value: array<vec4f, ROWS>;
    for (var i = 0u; i < ROWS; i += 1) {
        value[i] = vec4f();
    }

    let last = min(first + ROWS, count) - 1;
    let span = reach(position_of(first / GROUPED, length, queries), position_of(last / GROUPED, length, queries), length);
    let begin = span.x + split * params.split_keys;
    let end = min(span.y, begin + params.split_keys);
    for (var start = begin; start < end; start += KEYS) {
        let here = min(KEYS, end - start);
        // Barrier: the previous tile is no longer in use.
        workgroupBarrier();
        for (var i = lane; i < here; i += GROUP) {
            key_rows[i] = key_row(b, start + i);
        }
        workgroupBarrier();
        for (var base = 0u; base < here; base += GROUP / 4) {
            // Lanes past the last key recompute it, so that control flow stays uniform for the exchange between lanes.
            let j = min(base + lane / 4, here - 1);
            let at = params.k_start + (key_rows[j] * params.kv_heads + g) * K_WIDTH;
            var product: array<f32, ROWS>;
            for (var i = 0u; i < ROWS; i += 1) {
                product[i] = 0.0;
            }
            for (var d = lane % 4; d < D4; d += 4) {
                let key = vec4f(load_k(at, d));
                for (var i = 0u; i < ROWS; i += 1) {
                    let q = rows[i * D4 + d];
                    product[i] = q.w * key.w + (q.z * key.z + (q.y * key.y + (q.x * key.x + product[i])));
                }
            }
            for (var i = 0u; i < ROWS; i += 1) {
                let part = add_quarters(product[i]);
                if base + lane / 4 < here && (QUARTERS == 4 || lane % 4 == 0) {
                    scores[(i * KEYS + j) * QUARTERS + lane % QUARTERS] = part;
                }
            }
        }
        workgroupBarrier();

        var top = largest;
        if r < ROWS {
            for (var j = lane % WIDTH; j < here; j += WIDTH) {
                let at = (r * KEYS + j) * QUARTERS;
                var product = scores[at];
                for (var i = 1u; i < QUARTERS; i += 1) {
                    product += scores[at + i];
                }
                let z = logit(product, start + j, position, g * GROUPED + mine % GROUPED, bias_at);
                let seen = select(NONE, z, visible(start + j, position));
                scores[at] = seen;
                top = max(top, seen);
            }
        }
        leave(lane, 0, top);
        settle();
        top = largest_of(lane, 0, top);
        if r < ROWS {
            let factor = rescale(largest, top);
            largest = top;
            sum *= factor;
            for (var j = lane % WIDTH; j < here; j += WIDTH) {
                let at = (r * KEYS + j) * QUARTERS;
                let weight = rescale(scores[at], top);
                scores[at] = weight;
                sum += weight;
            }
            if lane % WIDTH == 0 {
                factors[r] = factor;
            }
        }
        workgroupBarrier();

        for (var i = 0u; i < ROWS; i += 1) {
            value[i] *= factors[i];
        }
        if share < AT_ONCE {
            for (var j = share; j < here; j += AT_ONCE) {
                let part = vec4f(load_v(params.v_start + (key_rows[j] * params.kv_heads + g) * V_WIDTH, column));
                for (var i = 0u; i < ROWS; i += 1) {
                    value[i] += scores[(i * KEYS + j) * QUARTERS] * part;
                }
            }
        }
    }

    // No barrier is needed first: reads of the last tile's maxima ended before that tile's last barrier.
    leave(lane, 0, sum);
    settle();
    let total = sum_of(lane, 0, sum);
    if r < ROWS && lane % WIDTH == 0 {
        states[r] = vec2f(largest, total);
    }
    for (var i = 0u; i < ROWS; i += 1) {
        // Barrier: the sums of the previous row have been read.
        workgroupBarrier();
        sums[lane] = value[i];
        workgroupBarrier();
        let row = first + i;
        if lane < V4 && row < count {
            var total = sums[lane];
            for (var s = 1u; s < AT_ONCE; s += 1) {
                total += sums[s * V4 + lane];
            }
            let h = g * GROUPED + row % GROUPED;
            let at = (token0 + row / GROUPED) * params.kv_heads * GROUPED + h;
            finish(at, h, split, lane, states[i].x, states[i].y, total);
        }
    }
}
