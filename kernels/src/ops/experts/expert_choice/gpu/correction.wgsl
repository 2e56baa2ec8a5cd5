@group(0) @binding(1) var<storage, read> correction: array<f32>;

fn corrected(score: f32, expert: u32) -> f32 {
    return score + correction[params.correction_start + expert];
}
