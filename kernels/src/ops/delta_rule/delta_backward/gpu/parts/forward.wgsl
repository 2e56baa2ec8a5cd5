const REVERSE = false;
// Index of matrix M in a chunk's matrices; N follows it.
const M = 0u;

fn meets(n: u32) -> bool {
    let span = span_of(n);
    return span.x < span.y;
}

fn begins(n: u32) -> bool {
    return tokens_of(n).x >= params.first;
}

fn ends(n: u32) -> bool {
    return tokens_of(n).y <= params.first + params.count;
}

fn dout_of(row: u32, column: u32) -> vec4f {
    return vec4f();
}
