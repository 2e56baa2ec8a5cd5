fn sink(h: u32) -> f32 {
    return NONE;
}
