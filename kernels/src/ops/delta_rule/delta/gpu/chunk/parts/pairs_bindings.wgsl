// Bindings of the `pairs` passes.

struct Params {
    units: u32,
    tokens: u32,
    first: u32,
    count: u32,
    sequences: u32,
    cu_start: u32,
    // K4 as a uniform: an unknown trip count stops the compiler
    // from unrolling a loop into more registers than there are.
    key_vectors: u32,
}

@group(0) @binding(0) var<storage, read_write> vectors: array<vec4f>;
// [rows, C]: P
@group(0) @binding(1) var<storage, read_write> weights: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;
