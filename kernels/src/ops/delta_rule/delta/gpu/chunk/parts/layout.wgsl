// Where the chunks of a piece of the tokens are. A row is a token of the piece and a value head; in `vectors` it has, in
// vectors of four that 0 fills up: query, key, what reads the state, sums of the logarithms of decays, what is written.

const KEY = K4;
const READ = 2 * K4;
const SUM = 3 * K4;
const WRITTEN = SUM + DECAYS4;
const ROW = WRITTEN + V4;

struct Chunk {
    n: u32,
    // Of the piece.
    first: u32,
    tokens: u32,
}

// The tokens of a sequence that the piece has, as tokens of the piece.
fn span_of(n: u32) -> vec2u {
    let end = params.first + params.count;
    return clamp(tokens_of(n), vec2u(params.first), vec2u(end)) - params.first;
}

// Chunks stand in order at places, some of which none has.
fn chunk_of(place: u32) -> Chunk {
    let n = sequence_of(place);
    let span = span_of(n);
    let begin = first_place(n);
    let first = select(span.y, min(span.y, span.x + (place - begin) * TOKENS), place >= begin);
    return Chunk(n, first, min(TOKENS, span.y - first));
}

// The row of a token; that of the next token stands VALUE_HEADS behind it.
fn row_of(n: u32, token: u32, head: u32) -> u32 {
    return (batch_of(n) * params.count + token) * VALUE_HEADS + head;
}
