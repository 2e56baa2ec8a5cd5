// Returns the last sequence that begins at or before a token, or sequence 0.
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
