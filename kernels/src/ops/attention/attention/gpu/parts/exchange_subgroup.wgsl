// Exchange between WIDTH adjacent lanes within one subgroup. WGSL does not specify which lanes form a subgroup; in a
// one-dimensional workgroup every driver assigns consecutive lanes.

fn leave(lane: u32, slot: u32, value: f32) {}

fn settle() {}

fn largest_of(lane: u32, slot: u32, value: f32) -> f32 {
    var top = value;
    for (var i = 1u; i < WIDTH; i *= 2) {
        top = max(top, subgroupShuffleXor(top, i));
    }
    return top;
}

fn sum_of(lane: u32, slot: u32, value: f32) -> f32 {
    var total = value;
    for (var i = 1u; i < WIDTH; i *= 2) {
        total += subgroupShuffleXor(total, i);
    }
    return total;
}
