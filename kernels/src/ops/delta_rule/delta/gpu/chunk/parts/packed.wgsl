// The first place of a packed sequence depends on no other sequence. At most `n` places before it are empty.

fn first_place(n: u32) -> u32 {
    return span_of(n).x / TOKENS + n;
}

// Returns the last sequence that begins at or before `place`.
fn sequence_of(place: u32) -> u32 {
    var low = 0u;
    var high = params.sequences;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if first_place(middle) <= place {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}
