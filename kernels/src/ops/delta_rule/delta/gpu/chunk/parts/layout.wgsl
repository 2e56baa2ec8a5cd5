// Layout of the chunks of a piece. A row is a token of the piece and a value head. In `vectors` a row holds, each
// padded with zeros to whole vec4: query, key, read key, sums of log decays, written values.

const KEY = K4;
const READ = 2 * K4;
const SUM = 3 * K4;
const WRITTEN = SUM + DECAYS4;
const ROW = WRITTEN + V4;

struct Chunk {
    n: u32,
    // First token, counted from the piece's start.
    first: u32,
    tokens: u32,
}

// Returns the range of a sequence's tokens within the piece, counted from the piece's start.
fn span_of(n: u32) -> vec2u {
    let end = params.first + params.count;
    return clamp(tokens_of(n), vec2u(params.first), vec2u(end)) - params.first;
}

// Returns the chunk at `place`. Chunks occupy places in order; some places are empty.
fn chunk_of(place: u32) -> Chunk {
    let n = sequence_of(place);
    let span = span_of(n);
    let begin = first_place(n);
    let first = select(span.y, min(span.y, span.x + (place - begin) * TOKENS), place >= begin);
    return Chunk(n, first, min(TOKENS, span.y - first));
}

// Returns the row of a token; the row of the next token is VALUE_HEADS after it.
fn row_of(n: u32, token: u32, head: u32) -> u32 {
    return (batch_of(n) * params.count + token) * VALUE_HEADS + head;
}
