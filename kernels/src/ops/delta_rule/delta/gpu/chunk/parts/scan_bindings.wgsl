// Bindings of the `scan` passes.

struct Params {
    units: u32,
    tokens: u32,
    first: u32,
    count: u32,
    sequences: u32,
    // Number of states.
    slots: u32,
    states_start: u32,
    cu_start: u32,
    slots_start: u32,
    key_vectors: u32,
}

@group(0) @binding(0) var<storage, read_write> vectors: array<vec4f>;
// [places, VALUE_HEADS, 4 K4, V4]
@group(0) @binding(1) var<storage, read_write> before: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> states: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;
