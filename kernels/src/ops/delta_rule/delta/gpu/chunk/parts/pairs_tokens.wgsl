// Products of the rows of the tile for gates with one decay per token, which is applied to the products.

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
