fn gate_of(row: u32, at: u32) -> f32 {
    return 1.0;
}
