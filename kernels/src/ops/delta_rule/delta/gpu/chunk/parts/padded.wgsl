// Sequences of equal length have equally many chunks.

fn first_place(n: u32) -> u32 {
    return n * ((params.count + TOKENS - 1) / TOKENS);
}

fn sequence_of(place: u32) -> u32 {
    return place / ((params.count + TOKENS - 1) / TOKENS);
}
