// Each invocation rotates one pair of a query or a key, or copies one element. Order within a token: the pairs of its
// queries, its keys (pairs, then the elements after the rotary part), its values.

struct Params {
    tokens: u32,
    heads: u32,
    kv_heads: u32,
    dim: u32,
    pairs: u32,
    rows: u32,
    pool: u32,
    stride: u32,
    positions_start: u32,
    table_start: u32,
    slots_start: u32,
    qkv_start: u32,
    k_pool_start: u32,
    v_pool_start: u32,
}

@group(0) @binding(0) var<storage, read> positions: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> k_pool: array<f32>;
@group(0) @binding(5) var<storage, read_write> v_pool: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// Returns the offsets of the two elements of pair j within a head.
fn pair(j: u32) -> vec2u {
    let first = select(j, 2 * j, INTERLEAVED);
    return vec2u(first, select(first + params.pairs, first + 1, INTERLEAVED));
}

// Returns pair j, at offsets `at` in qkv, rotated by the token's angle.
fn turned(token: u32, at: vec2u, j: u32) -> vec2f {
    let row = min(positions[params.positions_start + token], params.rows - 1);
    let angle = params.table_start + (row * params.pairs + j) * 2;
    let cosine = table[angle];
    let sine = table[angle + 1];
    let a = qkv[at.x];
    let b = qkv[at.y];
    return vec2f(a * cosine - b * sine, a * sine + b * cosine);
}

fn invocation(index: u32) {
    let queries = params.heads * params.pairs;
    let head_keys = params.dim - params.pairs;
    let keys = params.kv_heads * head_keys;
    let kv_width = params.kv_heads * params.dim;
    let items = queries + keys + kv_width;
    if index >= params.tokens * items {
        return;
    }
    let token = index / items;
    let item = index % items;
    let q = params.qkv_start + token * params.stride;
    if item < queries {
        let j = item % params.pairs;
        let at = q + item / params.pairs * params.dim + pair(j);
        let two = turned(token, at, j);
        qkv[at.x] = two.x;
        qkv[at.y] = two.y;
        return;
    }
    let slot = slots[params.slots_start + token];
    if slot >= params.pool {
        return;
    }
    let k = q + params.heads * params.dim;
    if item >= queries + keys {
        let i = item - queries - keys;
        v_pool[params.v_pool_start + slot * kv_width + i] = qkv[k + kv_width + i];
        return;
    }
    let head = (item - queries) / head_keys * params.dim;
    let j = (item - queries) % head_keys;
    let to = params.k_pool_start + slot * kv_width + head;
    if j < params.pairs {
        let at = pair(j);
        let two = turned(token, k + head + at, j);
        k_pool[to + at.x] = two.x;
        k_pool[to + at.y] = two.y;
    } else {
        let i = params.pairs + j;
        k_pool[to + i] = qkv[k + head + i];
    }
}
