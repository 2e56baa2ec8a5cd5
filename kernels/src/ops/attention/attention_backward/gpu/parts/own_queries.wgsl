// dq: a workgroup owns queries and walks the keys that they see.

@group(0) @binding(DQ_BINDING) var<storage, read_write> dq: array<f32>;

alias Own = Query;
alias Other = u32;

fn own_most() -> u32 {
    return params.queries * GROUPED;
}

fn own_count(s: Sequence) -> u32 {
    return s.queries * GROUPED;
}

// Returns the range [x, y) of others that pair with items [first, end).
fn reach(first: u32, end: u32, s: Sequence) -> vec2u {
    let nearest = i32(first / GROUPED) + behind(s);
    let farthest = i32((end - 1) / GROUPED) + behind(s);
    var keys = vec2u(0, s.keys);
    if CAUSAL {
        keys.y = u32(clamp(farthest + 1, 0, i32(s.keys)));
    }
    if WINDOW {
        keys.x = u32(clamp(nearest - i32(params.window) + 1, 0, i32(keys.y)));
    }
    return keys;
}

fn own_of(s: Sequence, g: u32, item: u32) -> Own {
    return query_of(s, g, item);
}

fn other_of(s: Sequence, g: u32, item: u32) -> Other {
    return item;
}

fn pair_of(own: Own, other: Other, product: f32, derivative: f32) -> vec2f {
    return pair(own, other, product, derivative).xy;
}

fn own_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return query_places(s, g, item);
}

fn other_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return key_places(s, g, item);
}

fn load_own(place: u32, i: u32) -> vec4f {
    return load_q(place, i);
}

fn load_own_value(place: u32, i: u32) -> vec4f {
    return load_dout(place, i);
}

fn load_other(place: u32, i: u32) -> vec4f {
    return load_k(place, i);
}

fn load_other_value(place: u32, i: u32) -> vec4f {
    return load_v(place, i);
}

fn store(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {
    let at = params.dq_start + (token_of(s, item) * params.kv_heads * GROUPED + head_of(g, item)) * D + 4 * i;
    for (var c = 0u; c < 4; c += 1) {
        if D % 4 == 0 || 4 * i + c < D {
            dq[at + c] = value[c];
        }
    }
}

fn store_value(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {}
