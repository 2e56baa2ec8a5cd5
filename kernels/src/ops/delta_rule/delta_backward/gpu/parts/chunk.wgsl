struct Chunk {
    // Number of tokens, at most C.
    tokens: u32,
    // Row of the first token in the piece; the next tokens are VALUE_HEADS rows apart.
    row: u32,
}

// Returns the row of token `t` of sequence `n` in the piece.
fn row_of(n: u32, t: u32, head: u32) -> u32 {
    return (batch_of(n) * params.count + t - params.first) * VALUE_HEADS + head;
}

// Returns the range [x, y) of sequence `n`'s tokens within the piece; empty if y <= x.
fn span_of(n: u32) -> vec2u {
    let tokens = tokens_of(n);
    return vec2u(max(tokens.x, params.first), min(tokens.y, params.first + params.count));
}

// Returns chunk `slot` of the piece, with 0 tokens if the slot is empty.
fn chunk_of(slot: u32, head: u32) -> Chunk {
    let n = sequence_of(slot);
    let span = span_of(n);
    let first = slot_of(n);
    let start = span.x + (slot - first) * C;
    if slot < first || start >= span.y {
        return Chunk(0, 0);
    }
    return Chunk(min(C, span.y - start), row_of(n, start, head));
}

fn row(chunk: Chunk, i: u32) -> u32 {
    return chunk.row + i * VALUE_HEADS;
}
