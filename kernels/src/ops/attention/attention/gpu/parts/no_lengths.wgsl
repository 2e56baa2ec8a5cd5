fn length_of(b: u32) -> u32 {
    return keys_of(b);
}
