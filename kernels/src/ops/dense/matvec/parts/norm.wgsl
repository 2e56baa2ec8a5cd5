// Returns the weights of the norm, four at a time, from `stored4` of the linked part.

fn norm4(k: u32) -> vec4f {
    return stored4(k) + select(0.0, 1.0, ONE_PLUS);
}

// Returns 1 / sqrt(mean + eps). With eps 0, a row of zeros has a mean of
// zero; the bound, the smallest normal number, keeps its inverse finite.
fn inverses(squares: vec4f) -> vec4f {
    return inverseSqrt(max(squares / f32(params.width) + params.eps, vec4f(1.2e-38)));
}
