// Packed sequences begin at a place of their own that depends on no other sequence: `n` empty places at most are in front.

fn first_place(n: u32) -> u32 {
    return span_of(n).x / TOKENS + n;
}

// The last sequence that begins at `place` or before it.
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
