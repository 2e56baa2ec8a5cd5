fn corrected(score: f32, expert: u32) -> f32 {
    return score;
}
