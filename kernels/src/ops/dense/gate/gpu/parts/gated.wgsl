@group(0) @binding(GATE_BINDING) var<storage, read> gate: array<f32>;

fn gate_of(row: u32, at: u32) -> f32 {
    return f(params.factor * gate[params.gate_start + row * params.gate_stride + at / params.together]);
}
