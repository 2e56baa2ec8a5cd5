fn slot_of(n: u32) -> u32 {
    return n;
}
