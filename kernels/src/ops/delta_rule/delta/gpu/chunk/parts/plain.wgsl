// Queries and keys without normalisation.

fn fill_factors(row: u32, tokens: u32, lane: u32) {}

fn factor_of(t: u32) -> vec2f {
    return vec2f(1);
}
