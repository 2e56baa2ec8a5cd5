// The last sequence that begins at a token or before it, or the first.
fn sequence_of(row: u32) -> u32 {
    var low = 0u;
    var high = params.sequences;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if cu[params.cu_start + middle] <= row {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}
