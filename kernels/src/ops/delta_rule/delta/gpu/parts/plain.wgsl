// Queries and keys without normalisation.
fn factors_of(query: u32, key: u32, lane: u32) -> vec2f {
    return vec2f(1);
}
