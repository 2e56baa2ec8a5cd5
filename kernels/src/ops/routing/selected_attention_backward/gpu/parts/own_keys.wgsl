// Gradients of places for dk and dv: a workgroup owns keys and memory slots of a list and walks its queries. The slots
// of all lists precede the places.

@group(0) @binding(SUMS_BINDING) var<storage, read_write> sums: array<f32>;

alias Own = Key;
alias Other = Query;

fn own_most() -> u32 {
    return params.slots + params.key_entries;
}

fn own_count(s: Sequence) -> u32 {
    return key_count(s);
}

fn reach(first: u32, end: u32, s: Sequence) -> vec2u {
    return vec2u(0, query_count(s));
}

fn own_of(s: Sequence, g: u32, item: u32) -> Own {
    return key_of(s.list, item);
}

fn other_of(s: Sequence, g: u32, item: u32) -> Other {
    return query_of(s, item);
}

fn pair_of(own: Own, other: Other, product: f32, derivative: f32) -> vec2f {
    return pair(other, own, product, derivative);
}

fn own_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return key_places(s, item);
}

fn other_places(s: Sequence, g: u32, item: u32) -> vec2u {
    return query_places(s, item);
}

fn load_own(place: u32, i: u32) -> vec4f {
    return load_key(place, i);
}

fn load_own_value(place: u32, i: u32) -> vec4f {
    return load_key_value(place, i);
}

fn load_other(place: u32, i: u32) -> vec4f {
    return query_vector(place, i);
}

fn load_other_value(place: u32, i: u32) -> vec4f {
    return dout_vector(place, i);
}

fn sum_row(s: Sequence, item: u32) -> u32 {
    if item < params.slots {
        return s.list * params.slots + item;
    }
    let unit = s.list / params.clusters;
    return params.batch * params.slots + unit * params.key_entries + s.keys.x + item - params.slots;
}

fn store(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {
    let at = sum_row(s, item) * D + 4 * i;
    for (var c = 0u; c < 4; c += 1) {
        if D % 4 == 0 || 4 * i + c < D {
            sums[at + c] = value[c];
        }
    }
}

fn store_value(s: Sequence, g: u32, item: u32, i: u32, value: vec4f) {
    let at = params.values + sum_row(s, item) * V + 4 * i;
    for (var c = 0u; c < 4; c += 1) {
        if V % 4 == 0 || 4 * i + c < V {
            sums[at + c] = value[c];
        }
    }
}
