// Gates with one decay per token and head.

const FLOOR = -100.0;

// Returns the decay from the chunk's start to the token of `row`.
fn since_of(row: u32, i: u32) -> vec4f {
    return vec4f(exp(max(vectors[row + SUM].x, FLOOR)));
}

// Returns the decay from the token of `row` to the last token.
fn until_of(row: u32, last: u32, i: u32) -> vec4f {
    return vec4f(exp(max(vectors[last + SUM].x - vectors[row + SUM].x, FLOOR)));
}

// Returns the decay shared by all channels of a token, which queries and keys do not include.
fn since_row(row: u32) -> f32 {
    return exp(max(vectors[row + SUM].x, FLOOR));
}

fn until_row(row: u32, last: u32) -> f32 {
    return exp(max(vectors[last + SUM].x - vectors[row + SUM].x, FLOOR));
}
