fn sequence_of(b: u32) -> Sequence {
    return Sequence(b, b * params.queries, params.queries, b * params.keys, params.keys);
}
