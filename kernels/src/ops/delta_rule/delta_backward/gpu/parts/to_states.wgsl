@group(0) @binding(END_BINDING) var<storage, read_write> end_states: array<f32>;

fn end(at: u32, d: u32, column: u32, state: vec4f) {
    for (var b = 0u; b < min(V - 4 * column, 4u) && d < K; b += 1) {
        end_states[params.end_start + at + d * V + 4 * column + b] = state[b];
    }
}
