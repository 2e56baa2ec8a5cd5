fn slope(h: u32) -> f32 {
    return LOG2_E * alibi_at(h);
}
