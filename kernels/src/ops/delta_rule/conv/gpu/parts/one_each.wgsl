fn sequence_of(row: u32) -> u32 {
    return row / params.tokens;
}
