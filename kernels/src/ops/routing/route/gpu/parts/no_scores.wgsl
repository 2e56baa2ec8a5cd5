fn store_score(at: u32, score: f32) {}
