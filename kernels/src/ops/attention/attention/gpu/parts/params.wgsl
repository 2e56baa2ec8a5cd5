// Parameters of the forms that read keys, the mask, and the logit of a query and a key. Logits are in units of
// log2(e), for exp2. Starts and `q_stride` count array entries; for quantised blocks, half-words.

struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    // Packed only: rows of q, and rows of k and v.
    q_rows: u32,
    k_rows: u32,
    kv_heads: u32,
    splits: u32,
    split_keys: u32,
    window: u32,
    // With CAUSAL: keys behind a query's position that it sees.
    ahead: u32,
    // log2(e) scale; with SOFTCAP scale / cap.
    scale: f32,
    // log2(e) cap.
    cap: f32,
    q_stride: u32,
    pages: u32,
    page_shift: u32,
    table_width: u32,
    q_start: u32,
    k_start: u32,
    v_start: u32,
    table_start: u32,
    cu_q_start: u32,
    cu_k_start: u32,
    lengths_start: u32,
    sinks_start: u32,
    alibi_start: u32,
    bias_start: u32,
    // Strides of the bias between sequences and between heads; 0 if they share one.
    bias_batch: u32,
    bias_head: u32,
    out_start: u32,
    lse_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

// Returns the logit of `key` for a query at `position` of head `h`, from
// their dot product. `bias_at` is the offset of the query's biases.
fn logit(product: f32, key: u32, position: i32, h: u32, bias_at: u32) -> f32 {
    return logit_of_scaled(product * params.scale, key, position, h, bias_at);
}

fn logit_of_scaled(product: f32, key: u32, position: i32, h: u32, bias_at: u32) -> f32 {
    var z = product;
    if SOFTCAP {
        // tanh is 1 in f32 beyond 10, and some devices overflow there.
        z = params.cap * tanh(clamp(z, -10.0, 10.0));
    }
    if ALIBI {
        z += slope(h) * f32(i32(key) - position);
    }
    return biased(z, bias_at, key);
}

fn visible(key: u32, position: i32) -> bool {
    let behind = position - i32(key);
    return (!CAUSAL || behind + i32(params.ahead) >= 0) && (!WINDOW || behind < i32(params.window));
}

// Returns the range [x, y) of keys below `length` that is visible to some query between two positions.
fn reach(first: i32, last: i32, length: u32) -> vec2u {
    var keys = vec2u(0, length);
    if CAUSAL {
        keys.y = u32(clamp(last + 1 + i32(params.ahead), 0, i32(length)));
    }
    if WINDOW {
        keys.x = u32(clamp(first - i32(params.window) + 1, 0, i32(keys.y)));
    }
    return keys;
}

// Returns the position of query t of `queries`: the last query has the position of the last key.
fn position_of(t: u32, length: u32, queries: u32) -> i32 {
    return i32(t) + i32(length) - i32(queries);
}
