// The first chunk of sequence `n`: no sequence has more chunks than its tokens have multiples of C, and one.
fn slot_of(n: u32) -> u32 {
    let start = clamp(cu[params.cu_start + n], params.first, params.first + params.count);
    return (start - params.first) / C + n;
}

// The last sequence whose first chunk is not behind `slot`.
fn sequence_of(slot: u32) -> u32 {
    var n = 0u;
    for (var size = params.sequences; size > 1; size -= size / 2) {
        let half = min(n + size / 2, params.sequences - 1);
        n = select(n, half, slot_of(half) <= slot);
    }
    return n;
}

// A border of pieces cuts one sequence at most.
fn carried(n: u32) -> u32 {
    return 0;
}
