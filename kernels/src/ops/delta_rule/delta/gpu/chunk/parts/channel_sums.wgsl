// Gates with one decay per token, head and channel.

const FLOOR = -100.0;

// Returns the decay from the chunk's start to the token of `row`, for channels 4 i to 4 i + 3.
fn since_of(row: u32, i: u32) -> vec4f {
    return exp(max(vectors[row + SUM + i], vec4f(FLOOR)));
}

// Returns the decay from the token of `row` to the last token.
fn until_of(row: u32, last: u32, i: u32) -> vec4f {
    return exp(max(vectors[last + SUM + i] - vectors[row + SUM + i], vec4f(FLOOR)));
}

// Returns the decay shared by all channels of a token: 1, since it is already part of queries and keys.
fn since_row(row: u32) -> f32 {
    return 1.0;
}

fn until_row(row: u32, last: u32) -> f32 {
    return 1.0;
}
