// Parameters of the passes over lists. Logits are in units of log2(e), for exp2.

struct Params {
    units: u32,
    heads: u32,
    tokens: u32,
    key_tokens: u32,
    clusters: u32,
    entries: u32,
    key_entries: u32,
    // M
    slots: u32,
    // Workgroups of a list.
    parts: u32,
    // Where members of queries and of keys, and until, begin in `lists`.
    members: u32,
    key_members: u32,
    until: u32,
    first: u32,
    // log2(e) scale
    scale: f32,
    own_logit: f32,
    q_start: u32,
    k_start: u32,
    v_start: u32,
    memory_k_start: u32,
    memory_v_start: u32,
    dout_start: u32,
    // Lists, one head of each, as tiles.wgsl counts them; and the factor of its sums.
    batch: u32,
    kv_heads: u32,
    gradient_scale: f32,
    // Where what rows.wgsl has found begins in `lists`, and the values among the gradients of keys.
    rows: u32,
    values: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
