// A decay for all channels of a token.

const FLOOR = -100.0;

// What is left at the token of `row` of what a state held before the chunk.
fn since_of(row: u32, i: u32) -> vec4f {
    return vec4f(exp(max(vectors[row + SUM].x, FLOOR)));
}

// What is left at the last token of what the token of `row` wrote.
fn until_of(row: u32, last: u32, i: u32) -> vec4f {
    return vec4f(exp(max(vectors[last + SUM].x - vectors[row + SUM].x, FLOOR)));
}

// The same for all channels of a token, unless queries and keys have it in them.
fn since_row(row: u32) -> f32 {
    return exp(max(vectors[row + SUM].x, FLOOR));
}

fn until_row(row: u32, last: u32) -> f32 {
    return exp(max(vectors[last + SUM].x - vectors[row + SUM].x, FLOOR));
}
