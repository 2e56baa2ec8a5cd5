// k_pool[slots[t]] = k[t], v_pool[slots[t]] = v[t]. Each invocation stores one unit of one token's key and value:
// `append` stores unit `i` of a token's row. A unit takes POOL entries of the pool. Strides and starts count array entries.

struct Params {
    tokens: u32,
    pool: u32,
    // Units per row.
    k_width: u32,
    v_width: u32,
    k_stride: u32,
    v_stride: u32,
    // Of each head of keys, in array entries, and of the tail behind it.
    own: u32,
    tail_width: u32,
    tail_stride: u32,
    slots_start: u32,
    k_start: u32,
    v_start: u32,
    tail_start: u32,
    k_pool_start: u32,
    v_pool_start: u32,
}

@group(0) @binding(0) var<storage, read> slots: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    let width = params.k_width + params.v_width;
    if index >= params.tokens * width {
        return;
    }
    let token = index / width;
    let slot = slots[params.slots_start + token];
    if slot >= params.pool {
        return;
    }
    let i = index % width;
    if i < params.k_width {
        append(false, token, params.k_pool_start + slot * params.k_width * POOL, i);
    } else {
        append(true, token, params.v_pool_start + slot * params.v_width * POOL, i - params.k_width);
    }
}
