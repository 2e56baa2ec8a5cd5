// Returns the first row in q of sequence `b`.
fn first_query(b: u32) -> u32 {
    return b * params.queries;
}

fn queries_of(b: u32) -> u32 {
    return params.queries;
}
