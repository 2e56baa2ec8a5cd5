// Exchange between WIDTH adjacent lanes through workgroup memory, SLOTS values per lane at a time.

var<workgroup> shares: array<f32, SLOTS * GROUP>;

fn leave(lane: u32, slot: u32, value: f32) {
    shares[slot * GROUP + lane] = value;
}

// Barrier: after it, all values stored by `leave` are visible.
fn settle() {
    workgroupBarrier();
}

fn largest_of(lane: u32, slot: u32, value: f32) -> f32 {
    var top = value;
    for (var i = 0u; i < WIDTH; i += 1) {
        top = max(top, shares[slot * GROUP + lane / WIDTH * WIDTH + i]);
    }
    return top;
}

fn sum_of(lane: u32, slot: u32, value: f32) -> f32 {
    var total = 0.0;
    for (var i = 0u; i < WIDTH; i += 1) {
        total += shares[slot * GROUP + lane / WIDTH * WIDTH + i];
    }
    return total;
}
