// The row of q that sequence `b` begins at.
fn first_query(b: u32) -> u32 {
    return b * params.queries;
}

fn queries_of(b: u32) -> u32 {
    return params.queries;
}
