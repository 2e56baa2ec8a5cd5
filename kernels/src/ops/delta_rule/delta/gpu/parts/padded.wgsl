// Sequences of equal length.
fn tokens_of(n: u32) -> vec2u {
    return vec2u(0, params.tokens);
}

fn batch_of(n: u32) -> u32 {
    return n;
}
