fn log_decay_of(row: u32, i: u32) -> f32 {
    return 0.0;
}
