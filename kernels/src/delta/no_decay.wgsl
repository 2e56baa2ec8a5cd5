fn decay_of(row: u32, i: u32) -> f32 {
    return 1.0;
}
