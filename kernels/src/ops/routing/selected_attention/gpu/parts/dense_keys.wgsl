fn key_row(unit: u32, token: u32) -> u32 {
    return row_of(unit, params.key_tokens, token);
}
