// Parameters of the tile passes, and the weight and derivatives of one pair of query and key. Logits are in units of
// log2(e), for exp2. Starts and `q_stride` count array entries.

const LOG2_E = 1.44269504;
const NONE = -3.0e38;

struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    kv_heads: u32,
    window: u32,
    // log2(e) scale; with SOFTCAP scale / cap.
    scale: f32,
    // log2(e) cap.
    cap: f32,
    // Factor of the final sums.
    gradient_scale: f32,
    // Offset of the sequence table behind the rows.
    sequences: u32,
    q_stride: u32,
    // Strides of the bias between sequences and between heads; 0 if they share one.
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

// [tokens, H]: see rows.wgsl. If sequences differ in length, [B] entries of sequences.wgsl follow.
@group(0) @binding(ROWS_BINDING) var<storage, read> rows: array<vec4u>;

// First rows of a sequence in q and k, its number of queries, and its number of valid keys.
struct Sequence {
    index: u32,
    first_query: u32,
    queries: u32,
    first_key: u32,
    keys: u32,
}

// A query of one head: its precomputed row, the offset of its biases, its position, and the visible keys [first, end).
struct Query {
    row: vec4f,
    bias_at: u32,
    position: i32,
    first: i32,
    end: i32,
}

// Returns the head of `item`. Items of key head `g` are ordered by
// token, then by the GROUPED query heads that read the key head.
fn head_of(g: u32, item: u32) -> u32 {
    return g * GROUPED + item % GROUPED;
}

fn token_of(s: Sequence, item: u32) -> u32 {
    return s.first_query + item / GROUPED;
}

// Returns the position of query 0; query t is at position t + behind(s).
fn behind(s: Sequence) -> i32 {
    return i32(s.keys) - i32(s.queries);
}

// Returns the query of `item`. Items past the last one see no key.
fn query_of(s: Sequence, g: u32, item: u32) -> Query {
    let inside = min(item, s.queries * GROUPED - 1);
    let position = i32(inside / GROUPED) + behind(s);
    let first = select(0, position - i32(params.window) + 1, WINDOW);
    let end = select(i32(s.keys), min(i32(s.keys), position + 1), CAUSAL);
    let row = rows[token_of(s, inside) * params.kv_heads * GROUPED + head_of(g, inside)];
    let bias_at = bias_row(s.index, head_of(g, inside), inside / GROUPED);
    return Query(bitcast<vec4f>(row), bias_at, position, first, select(end, -1, item > inside));
}

// Returns the offsets of a query's vectors in q and in dout.
fn query_places(s: Sequence, g: u32, item: u32) -> vec2u {
    let inside = min(item, s.queries * GROUPED - 1);
    let token = token_of(s, inside);
    let h = head_of(g, inside);
    let q = params.q_start + token * params.q_stride + h * K_WIDTH;
    return vec2u(q, params.dout_start + (token * params.kv_heads * GROUPED + h) * V_WIDTH);
}

// Returns the offsets of a key's vectors in k and in v. Keys past the
// last one are clamped to it and masked: memory past it must not be read.
fn key_places(s: Sequence, g: u32, key: u32) -> vec2u {
    let row = (s.first_key + min(key, s.keys - 1)) * params.kv_heads + g;
    return vec2u(params.k_start + row * K_WIDTH, params.v_start + row * V_WIDTH);
}

// Returns (weight, derivative with respect to the scaled dot product, derivative with respect to the logit) of a pair.
// `product` is the dot product of query and key. `derivative` is that of the loss with respect to the weight.
fn pair(query: Query, key: u32, product: f32, derivative: f32) -> vec3f {
    var z = product * params.scale;
    var slope = 1.0;
    if SOFTCAP {
        // tanh is 1 in f32 beyond 10, and some devices overflow there.
        let share = tanh(clamp(z, -10.0, 10.0));
        z = params.cap * share;
        slope = 1.0 - share * share;
    }
    if ALIBI {
        z += query.row.z * f32(i32(key) - query.position);
    }
    z = biased(z, query.bias_at, key);
    let seen = i32(key) < query.end && (!WINDOW || i32(key) >= query.first);
    // A masked logit may be any number; the bound keeps its exp2 finite.
    let weight = select(0.0, exp2(min(z - query.row.x, 120.0)), seen);
    let by_logit = weight * (derivative - query.row.y);
    return vec3f(weight, slope * by_logit, by_logit);
}
