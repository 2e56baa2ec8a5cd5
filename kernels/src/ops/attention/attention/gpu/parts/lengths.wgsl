fn length_of(b: u32) -> u32 {
    return min(lengths_at(b), keys_of(b));
}
