@group(0) @binding(4) var<storage, read> values: array<vec4f>;

const REVERSE = true;
// Index of matrix M in a chunk's matrices; N follows it.
const M = 2u;

// A sequence without tokens is processed in the piece that ends at or after it, or in the first piece.
fn meets(n: u32) -> bool {
    let tokens = tokens_of(n);
    let last = params.first + params.count;
    return (tokens.x < last || tokens.y <= last) && (tokens.y > params.first || params.first == 0);
}

fn begins(n: u32) -> bool {
    return tokens_of(n).y <= params.first + params.count;
}

fn ends(n: u32) -> bool {
    return tokens_of(n).x >= params.first;
}

fn dout_of(row: u32, column: u32) -> vec4f {
    return values[(2 * row + 1) * V4 + column];
}
