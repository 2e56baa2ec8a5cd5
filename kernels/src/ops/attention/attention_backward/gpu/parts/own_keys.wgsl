// dk and dv: a workgroup owns keys and walks the queries that see them,
// token by token, and in each token the query heads of the key head.

@group(0) @binding(DK_BINDING) var<storage, read_write> dk: array<f32>;
@group(0) @binding(DV_BINDING) var<storage, read_write> dv: array<f32>;

alias Own = u32;
alias Other = Query;

fn own_most() -> u32 {
    return params.keys;
}

// Padded keys that no query sees get gradients of 0 here. Packed gradients have been cleared before.
fn own_count(s: Sequence) -> u32 {
    return select(params.keys, s.keys, PACKED);
}

// Returns the range [x, y) of others that pair with items [first, end).
fn reach(first: u32, end: u32, s: Sequence) -> vec2u {
    var tokens = vec2u(0, select(s.queries, 0, first >= s.keys));
    if CAUSAL {
        tokens.x = u32(clamp(i32(first) - behind(s), 0, i32(tokens.y)));
    }
    if WINDOW {
        // This order of terms keeps every intermediate sum within 32 bits.
        let last = i32(min(end, s.keys)) - 1 - i32(s.keys) + i32(params.window) + i32(s.queries);
        tokens.y = u32(clamp(last, i32(tokens.x), i32(tokens.y)));
    }
    return GROUPED * tokens;
}

fn own_of(s: Sequence, g: u32, item: u32) -> Own {
    return item;
}

fn other_of(s: Sequence, g: u32, item: u32) -> Other {
    return query_of(s, g, item);
}

fn pair_of(own: Own, other: Other, product: f32, derivative: f32) -> vec2f {
    return pair(other, own, product, derivative).xy;
}

fn own_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return key_places(s, g, item);
}

fn other_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return query_places(s, g, item);
}

fn load_own(place: u32, i: u32) -> vec4f {
    return load_k(place, i);
}

fn load_own_value(place: u32, i: u32) -> vec4f {
    return load_v(place, i);
}

fn load_other(place: u32, i: u32) -> vec4f {
    return load_q(place, i);
}

fn load_other_value(place: u32, i: u32) -> vec4f {
    return load_dout(place, i);
}

fn store(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {
    let at = params.dk_start + ((s.first_key + item) * params.kv_heads + g) * D + 4 * i;
    for (var c = 0u; c < 4; c += 1) {
        if D % 4 == 0 || 4 * i + c < D {
            dk[at + c] = value[c];
        }
    }
}

fn store_value(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {
    let at = params.dv_start + ((s.first_key + item) * params.kv_heads + g) * V + 4 * i;
    for (var c = 0u; c < 4; c += 1) {
        if V % 4 == 0 || 4 * i + c < V {
            dv[at + c] = value[c];
        }
    }
}
