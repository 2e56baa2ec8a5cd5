// Products of the rows of the tile, where all channels of a token decay alike: the products decay.

fn add_products(below: ptr<function, array<vec4f, PER>>, weight: ptr<function, array<vec4f, PER>>, x: u32, y: u32) {
    let at = x * STRIDE;
    for (var i = 0u; i < CHUNK; i += 1) {
        let keys = transpose(mat4x4f(
            tile[at + i],
            tile[at + X * STRIDE + i],
            tile[at + 2 * X * STRIDE + i],
            tile[at + 3 * X * STRIDE + i],
        ));
        for (var r = 0u; r < PER; r += 1) {
            let own = (C + y + Y * r) * STRIDE + i;
            (*below)[r] = add4((*below)[r], tile[own], keys);
            (*weight)[r] = add4((*weight)[r], tile[own + C * STRIDE], keys);
        }
    }
}

fn between_of(rows: u32, i: u32, keys: vec4u, tokens: u32) -> vec4f {
    if DECAYS4 == 0 {
        return vec4f(1);
    }
    // Rows behind the last hold 0 in any case.
    let at = rows + min(vec4u(i), vec4u(tokens - 1)) * VALUE_HEADS * ROW + SUM;
    let of_keys = rows + min(keys, vec4u(tokens - 1)) * VALUE_HEADS * ROW + SUM;
    let sums = vec4f(vectors[of_keys.x].x, vectors[of_keys.y].x, vectors[of_keys.z].x, vectors[of_keys.w].x);
    return exp(clamp(vectors[at.x].x - sums, vec4f(-100), vec4f()));
}
