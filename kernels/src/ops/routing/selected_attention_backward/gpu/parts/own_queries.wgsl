// Gradients of places for dq: a workgroup owns queries of a list and walks its keys.

@group(0) @binding(SUMS_BINDING) var<storage, read_write> sums: array<f32>;

alias Own = Query;
alias Other = Key;

fn own_most() -> u32 {
    return params.entries;
}

fn own_count(s: Sequence) -> u32 {
    return query_count(s);
}

fn reach(first: u32, end: u32, s: Sequence) -> vec2u {
    return vec2u(0, key_count(s));
}

fn own_of(s: Sequence, g: u32, item: u32) -> Own {
    return query_of(s, item);
}

fn other_of(s: Sequence, g: u32, item: u32) -> Other {
    return key_of(s.list, item);
}

fn pair_of(own: Own, other: Other, product: f32, derivative: f32) -> vec2f {
    return pair(own, other, product, derivative);
}

fn own_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return query_places(s, item);
}

fn other_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return key_places(s, item);
}

fn load_own(place: u32, i: u32) -> vec4f {
    return query_vector(place, i);
}

fn load_own_value(place: u32, i: u32) -> vec4f {
    return dout_vector(place, i);
}

fn load_other(place: u32, i: u32) -> vec4f {
    return load_key(place, i);
}

fn load_other_value(place: u32, i: u32) -> vec4f {
    return load_key_value(place, i);
}

fn store(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {
    let at = query_place(s, item) * D + 4 * i;
    for (var c = 0u; c < 4; c += 1) {
        if D % 4 == 0 || 4 * i + c < D {
            sums[at + c] = value[c];
        }
    }
}

fn store_value(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {}
