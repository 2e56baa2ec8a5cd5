@group(0) @binding(BIAS_BINDING) var<storage, read> bias: array<f32>;

// A bias at or below this hides the key.
const HIDDEN = -1.0e38;

// Returns the offset of the biases of query t.
fn bias_row(b: u32, h: u32, t: u32) -> u32 {
    return params.bias_start + b * params.bias_batch + h * params.bias_head + t * params.keys;
}

fn biased(z: f32, row: u32, key: u32) -> f32 {
    // Keys past the last one are masked later.
    let x = bias[row + min(key, params.keys - 1)];
    return select(NONE, z + LOG2_E * max(x, HIDDEN), x > HIDDEN);
}
