// Products of the rows of the tile for gates with one decay per channel. Each pair of tokens has its own decays, whose
// exponents are exact and at most 0.

fn decayed(key: vec4f, sums: vec4f, sum: f32) -> vec4f {
    return key * exp(clamp(sum - sums, vec4f(-100), vec4f()));
}

fn add_products(below: ptr<function, array<vec4f, PER>>, weight: ptr<function, array<vec4f, PER>>, x: u32, y: u32) {
    for (var i = 0u; i < CHUNK; i += 1) {
        let at = x * STRIDE + i;
        let keys = transpose(mat4x4f(
            tile[at],
            tile[at + X * STRIDE],
            tile[at + 2 * X * STRIDE],
            tile[at + 3 * X * STRIDE],
        ));
        let of_keys = at + 3 * C * STRIDE;
        let sums = transpose(mat4x4f(
            tile[of_keys],
            tile[of_keys + X * STRIDE],
            tile[of_keys + 2 * X * STRIDE],
            tile[of_keys + 3 * X * STRIDE],
        ));
        for (var r = 0u; r < PER; r += 1) {
            let own = (C + y + Y * r) * STRIDE + i;
            let sum = tile[own + 2 * C * STRIDE];
            let here = mat4x4f(
                decayed(keys[0], sums[0], sum.x),
                decayed(keys[1], sums[1], sum.y),
                decayed(keys[2], sums[2], sum.z),
                decayed(keys[3], sums[3], sum.w),
            );
            (*below)[r] = add4((*below)[r], tile[own], here);
            (*weight)[r] = add4((*weight)[r], tile[own + C * STRIDE], here);
        }
    }
}

fn between_of(rows: u32, i: u32, keys: vec4u, tokens: u32) -> vec4f {
    return vec4f(1);
}
