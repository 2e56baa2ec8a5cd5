fn slot_of(n: u32) -> u32 {
    return n * params.each;
}

fn sequence_of(slot: u32) -> u32 {
    return slot / params.each;
}

fn carried(n: u32) -> u32 {
    return n;
}
