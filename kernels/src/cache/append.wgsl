// k_pool[slots[t]] = k[t], v_pool[slots[t]] = v[t]: one invocation an `Element` of one token's key and value. Widths,
// strides and starts count elements.

struct Params {
    tokens: u32,
    pool: u32,
    k_width: u32,
    v_width: u32,
    k_stride: u32,
    v_stride: u32,
    slots_start: u32,
    k_start: u32,
    v_start: u32,
    k_pool_start: u32,
    v_pool_start: u32,
}

@group(0) @binding(0) var<storage, read> slots: array<u32>;
@group(0) @binding(1) var<storage, read> k: array<Element>;
@group(0) @binding(2) var<storage, read> v: array<Element>;
@group(0) @binding(3) var<storage, read_write> k_pool: array<Element>;
@group(0) @binding(4) var<storage, read_write> v_pool: array<Element>;
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
        k_pool[params.k_pool_start + slot * params.k_width + i] = k[params.k_start + token * params.k_stride + i];
    } else {
        let j = i - params.k_width;
        v_pool[params.v_pool_start + slot * params.v_width + j] = v[params.v_start + token * params.v_stride + j];
    }
}
