// Parameters of the passes over tiles, and what a query and a key make of each other. Logits are in units of log2(e), for
// exp2. Starts and `q_stride` count elements of the arrays.

const LOG2_E = 1.44269504;
const NONE = -3.0e38;

struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    kv_heads: u32,
    window: u32,
    // log2(e) scale; with SOFTCAP scale / cap
    scale: f32,
    // log2(e) cap
    cap: f32,
    // Of the sums at the end.
    gradient_scale: f32,
    // Where sequences begin among the rows.
    sequences: u32,
    q_stride: u32,
    // Between two sequences and between two heads, 0 where they share one.
    bias_batch: u32,
    bias_head: u32,
    q_start: u32,
    k_start: u32,
    v_start: u32,
    dout_start: u32,
    bias_start: u32,
    dq_start: u32,
    dk_start: u32,
    dv_start: u32,
    dbias_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

// [tokens, H]: see rows.wgsl; behind them, where sequences differ, [B]: see sequences.wgsl.
@group(0) @binding(ROWS_BINDING) var<storage, read> rows: array<vec4u>;

// The rows of q and k that a sequence begins at, and how many of them it has; of keys those that are seen.
struct Sequence {
    index: u32,
    first_query: u32,
    queries: u32,
    first_key: u32,
    keys: u32,
}

// A query of one head: what its row holds, where its biases begin and it stands, and the keys [first, end) that it sees.
struct Query {
    row: vec4f,
    bias_at: u32,
    position: i32,
    first: i32,
    end: i32,
}

// Row `item` of key head `g`: tokens, and in them the GROUPED heads that read the key head.
fn head_of(g: u32, item: u32) -> u32 {
    return g * GROUPED + item % GROUPED;
}

fn token_of(s: Sequence, item: u32) -> u32 {
    return s.first_query + item / GROUPED;
}

// Query t stands at t + behind(s).
fn behind(s: Sequence) -> i32 {
    return i32(s.keys) - i32(s.queries);
}

// One behind the last item sees nothing.
fn query_of(s: Sequence, g: u32, item: u32) -> Query {
    let inside = min(item, s.queries * GROUPED - 1);
    let position = i32(inside / GROUPED) + behind(s);
    let first = select(0, position - i32(params.window) + 1, WINDOW);
    let end = select(i32(s.keys), min(i32(s.keys), position + 1), CAUSAL);
    let row = rows[token_of(s, inside) * params.kv_heads * GROUPED + head_of(g, inside)];
    let bias_at = bias_row(s.index, head_of(g, inside), inside / GROUPED);
    return Query(bitcast<vec4f>(row), bias_at, position, first, select(end, -1, item > inside));
}

// Where vectors of a query begin in q and in dout, of a key in k and in v.
fn query_places(s: Sequence, g: u32, item: u32) -> vec2u {
    let inside = min(item, s.queries * GROUPED - 1);
    let token = token_of(s, inside);
    let h = head_of(g, inside);
    let q = params.q_start + token * params.q_stride + h * K_WIDTH;
    return vec2u(q, params.dout_start + (token * params.kv_heads * GROUPED + h) * V_WIDTH);
}

// Behind the last key it stands again, where nothing sees it: what memory holds there must not be read.
fn key_places(s: Sequence, g: u32, key: u32) -> vec2u {
    let row = (s.first_key + min(key, s.keys - 1)) * params.kv_heads + g;
    return vec2u(params.k_start + row * K_WIDTH, params.v_start + row * V_WIDTH);
}

// The weight of a key for a query, and the derivatives of the loss by the scaled product of the two and by the logit; from
// that product and the derivative by the weight.
fn pair(query: Query, key: u32, product: f32, derivative: f32) -> vec3f {
    var z = product * params.scale;
    var slope = 1.0;
    if SOFTCAP {
        // tanh is 1 in f32 beyond 10, where some devices overflow.
        let share = tanh(clamp(z, -10.0, 10.0));
        z = params.cap * share;
        slope = 1.0 - share * share;
    }
    if ALIBI {
        z += query.row.z * f32(i32(key) - query.position);
    }
    z = biased(z, query.bias_at, key);
    let seen = i32(key) < query.end && (!WINDOW || i32(key) >= query.first);
    // What is not seen may be any number: exp2 of it stays finite.
    let weight = select(0.0, exp2(min(z - query.row.x, 120.0)), seen);
    let by_logit = weight * (derivative - query.row.y);
    return vec3f(weight, slope * by_logit, by_logit);
}
