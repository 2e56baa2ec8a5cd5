// Returns the first chunk slot of sequence `n`. A sequence occupies
// at most one chunk more than its tokens have multiples of C.
fn slot_of(n: u32) -> u32 {
    let start = clamp(cu[params.cu_start + n], params.first, params.first + params.count);
    return (start - params.first) / C + n;
}

// Returns the last sequence whose first chunk is at or before `slot`.
fn sequence_of(slot: u32) -> u32 {
    var n = 0u;
    for (var size = params.sequences; size > 1; size -= size / 2) {
        let half = min(n + size / 2, params.sequences - 1);
        n = select(n, half, slot_of(half) <= slot);
    }
    return n;
}

// A piece boundary cuts at most one packed sequence.
fn carried(n: u32) -> u32 {
    return 0;
}
