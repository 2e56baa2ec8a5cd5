fn length_of(b: u32) -> u32 {
    return params.tokens;
}
