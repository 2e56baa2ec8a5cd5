fn sequence_of(b: u32) -> Sequence {
    let row = rows[params.sequences + b];
    return Sequence(b, row.x, row.y, row.z, row.w);
}
