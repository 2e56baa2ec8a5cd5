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
    blocks_start: u32,
    lse_start: u32,
    // Paged keys only.
    table_start: u32,
    table_width: u32,
    pages: u32,
    page_shift: u32,
}

@group(1) @binding(0) var<uniform> params: Params;
