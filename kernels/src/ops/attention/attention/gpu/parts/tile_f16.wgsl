// A tile's operands in workgroup memory: a chunk of keys and, in its place, values, as they are stored. Weights stay in f32
// beside them, so that nothing is rounded.

const VALUES = 0u;

var<workgroup> tile: array<vec4<f16>, TILE>;
// [ROWS, X] exp2 of the scores, four keys in a vector.
var<workgroup> weights: array<vec4f, ROWS * X>;

fn kept(i: u32) -> vec4f {
    return vec4f(tile[i]);
}

fn keep_weights(i: u32, four: vec4f) {
    weights[i] = four;
}

fn weights_at(i: u32) -> vec4f {
    return weights[i];
}
