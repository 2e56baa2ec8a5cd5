struct Chunk {
    // At most C.
    tokens: u32,
    // Of its first token in the piece; the next tokens are VALUE_HEADS rows apart.
    row: u32,
}

// The row of token `t` of sequence `n` in the piece.
fn row_of(n: u32, t: u32, head: u32) -> u32 {
    return (batch_of(n) * params.count + t - params.first) * VALUE_HEADS + head;
}

// The tokens of sequence `n` that the piece has, none where the second is not above the first.
fn span_of(n: u32) -> vec2u {
    let tokens = tokens_of(n);
    return vec2u(max(tokens.x, params.first), min(tokens.y, params.first + params.count));
}

// Chunk `slot` of the piece; without tokens if it has none.
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
