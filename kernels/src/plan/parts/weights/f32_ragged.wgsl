@group(0) @binding(1) var<storage, read> weight: array<f32>;

fn element(at: u32) -> f32 {
    return weight[params.weight_start + at];
}
