// States before the first token. One invocation an element.

struct Params {
    elements: u32,
    state0_start: u32,
    states_start: u32,
}

@group(0) @binding(0) var<storage, read> state0: array<f32>;
@group(0) @binding(1) var<storage, read_write> states: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.elements {
        states[params.states_start + index] = state0[params.state0_start + index];
    }
}
