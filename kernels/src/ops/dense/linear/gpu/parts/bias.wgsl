@group(0) @binding(Y - 1) var<storage, read> bias: array<f32>;

fn bias_of(n: u32) -> f32 {
    return bias[params.bias_start + n];
}
