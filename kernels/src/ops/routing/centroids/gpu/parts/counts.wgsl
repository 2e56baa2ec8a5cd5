@group(0) @binding(3) var<storage, read_write> counts: array<f32>;

fn count_of(at: u32) -> f32 {
    return counts[params.counts_start + at];
}

fn store_count(at: u32, count: f32) {
    counts[params.counts_start + at] = count;
}
