// Dot products of a tile of items and a tile of others. Lane
// (x, y) computes items y, y + Y, .. and others x, x + X, ..

const Y = GROUP / X;
const OTHERS = 4 * X;
// Vectors between two rows of a chunk: odd, so that rows are in different banks.
const STRIDE = CHUNK | 1;
// Items of a chunk loaded at once by all lanes.
const AT_ONCE = GROUP / CHUNK;

// Chunks of the items, then of the others; in tiles.wgsl later factors and a step of others.
var<workgroup> tile: array<vec4f, TILE>;
// Offsets of the vectors of items and others.
var<workgroup> own_at: array<vec2u, OWN>;
var<workgroup> other_at: array<vec2u, OTHERS>;

// Adds the products of the chunks of PER items and four others.
fn add_products(sums: ptr<function, array<vec4f, PER>>, x: u32, y: u32) {
    let at = (OWN + x) * STRIDE;
    for (var i = 0u; i < CHUNK; i += 1) {
        let others = transpose(mat4x4f(
            tile[at + i],
            tile[at + X * STRIDE + i],
            tile[at + 2 * X * STRIDE + i],
            tile[at + 3 * X * STRIDE + i],
        ));
        for (var r = 0u; r < PER; r += 1) {
            let a = tile[(y + Y * r) * STRIDE + i];
            (*sums)[r] = a.w * others[3] + (a.z * others[2] + (a.y * others[1] + (a.x * others[0] + (*sums)[r])));
        }
    }
}
