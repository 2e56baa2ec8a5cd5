@group(0) @binding(5) var<storage, read_write> scores: array<f32>;

fn store_score(at: u32, score: f32) {
    scores[params.scores_start + at] = score;
}
