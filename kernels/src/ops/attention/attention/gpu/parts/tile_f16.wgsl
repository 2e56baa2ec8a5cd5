// A tile's operands in workgroup memory: a chunk of keys, later replaced by values, both in their f16 storage format.
// Weights are kept separately in f32, so nothing is rounded.

const VALUES = 0u;

var<workgroup> tile: array<vec4<f16>, TILE>;
// [ROWS, X]: exp2 of the scores, four keys per vector.
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
