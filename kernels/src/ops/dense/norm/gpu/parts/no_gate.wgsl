fn factor_of(at: u32) -> f32 {
    return 1.0;
}
