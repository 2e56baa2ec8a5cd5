// Returns the decays from four keys' tokens to the token of row `i`, for gates with one decay per token.
fn between_of(rows: u32, i: u32, keys: vec4u, tokens: u32) -> vec4f {
    if DECAYS4 == 0 {
        return vec4f(1);
    }
    // Rows past the last token are 0 in any case.
    let at = rows + min(vec4u(i), vec4u(tokens - 1)) * VALUE_HEADS * ROW + SUM;
    let of_keys = rows + min(keys, vec4u(tokens - 1)) * VALUE_HEADS * ROW + SUM;
    let sums = vec4f(vectors[of_keys.x].x, vectors[of_keys.y].x, vectors[of_keys.z].x, vectors[of_keys.w].x);
    return exp(clamp(vectors[at.x].x - sums, vec4f(-100), vec4f()));
}
