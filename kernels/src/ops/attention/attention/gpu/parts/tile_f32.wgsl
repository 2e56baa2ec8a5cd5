// A tile's operands in workgroup memory. First a chunk of keys, [4, X] rows of
// STRIDE vectors, with key 4x + c in row (c, x). Then, in the same memory, exp2 of
// the scores, [ROWS, X] with four keys per vector, and [STEP, V_PADDED] values.

const VALUES = ROWS * X;

var<workgroup> tile: array<vec4f, TILE>;

fn kept(i: u32) -> vec4f {
    return tile[i];
}

fn keep_weights(i: u32, weights: vec4f) {
    tile[i] = weights;
}

fn weights_at(i: u32) -> vec4f {
    return tile[i];
}
