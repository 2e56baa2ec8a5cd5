// Parameters of the passes over lists. Logits are in units of log2(e), for exp2.

struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    key_tokens: u32,
    clusters: u32,
    entries: u32,
    key_entries: u32,
    // Memory slots per list: M.
    slots: u32,
    // Workgroups per list.
    parts: u32,
    // Offsets in `lists` of the members of queries, the members of keys, `until` and `first`.
    members: u32,
    key_members: u32,
    until: u32,
    first: u32,
    // log2(e) scale.
    scale: f32,
    own_logit: f32,
    q_start: u32,
    k_start: u32,
    v_start: u32,
    memory_k_start: u32,
    memory_v_start: u32,
    dout_start: u32,
    // `batch` and `kv_heads` of tiles.wgsl: lists, with one head each; and the factor of its sums.
    batch: u32,
    kv_heads: u32,
    gradient_scale: f32,
    // Offset in `lists` of the rows of rows.wgsl, and offset of the values among the gradients of keys.
    rows: u32,
    values: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
