// Returns the first row in q of sequence `b`, clamped to q for any offsets.
fn first_query(b: u32) -> u32 {
    return min(cu_q_at(b), params.q_rows);
}

fn queries_of(b: u32) -> u32 {
    let first = first_query(b);
    let end = clamp(cu_q_at(b + 1), first, params.q_rows);
    return min(end - first, params.queries);
}
