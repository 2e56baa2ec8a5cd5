// Rows of k and v of any width in f16, two per word. The last vector of a row is padded with zeros, as in q.

@group(0) @binding(1) var<storage, read> k: array<u32>;
@group(0) @binding(2) var<storage, read> v: array<u32>;

fn half_of(word: u32, place: u32) -> f32 {
    let two = unpack2x16float(word);
    return select(two.x, two.y, (place & 1) == 1);
}

fn k_at(place: u32) -> f32 {
    return half_of(k[place / 2], place);
}

fn v_at(place: u32) -> f32 {
    return half_of(v[place / 2], place);
}

fn load_k(row: u32, i: u32) -> vec4f {
    let at = places(row, i, K_WIDTH);
    return select(vec4f(), vec4f(k_at(at.x), k_at(at.y), k_at(at.z), k_at(at.w)), inside(i, K_WIDTH));
}

fn load_v(row: u32, i: u32) -> vec4f {
    let at = places(row, i, V_WIDTH);
    return select(vec4f(), vec4f(v_at(at.x), v_at(at.y), v_at(at.z), v_at(at.w)), inside(i, V_WIDTH));
}
