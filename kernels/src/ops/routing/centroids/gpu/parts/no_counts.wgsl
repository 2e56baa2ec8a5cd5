fn count_of(at: u32) -> f32 {
    return 0.0;
}

fn store_count(at: u32, count: f32) {}
