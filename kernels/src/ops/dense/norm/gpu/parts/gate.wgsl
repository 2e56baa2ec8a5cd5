@group(0) @binding(GATE_BINDING) var<storage, read> gate: array<f32>;

fn factor_of(at: u32) -> f32 {
    return f(gate[at]);
}
