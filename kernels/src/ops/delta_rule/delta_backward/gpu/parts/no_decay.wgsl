fn by_decay(row: u32, i: u32, by: f32) -> f32 {
    return 0.0;
}

fn finish_decay(row: u32, lane: u32, share: f32) {}
