@group(0) @binding(BIAS_BINDING) var<storage, read> bias: array<f32>;

fn bias_of(i: u32) -> f32 {
    return bias[params.bias_start + i];
}
