fn sink(h: u32) -> f32 {
    return LOG2_E * sinks_at(h);
}
