// [B T H, splits, V4 + 1]: weighted sums of values; the last vector is (largest logit, sum of weights).
@group(0) @binding(PARTIAL_BINDING) var<storage, read_write> partial: array<vec4f>;

// Stores one split's partial result of a row (b, t, h) for `combine`.
fn finish(row: u32, h: u32, split: u32, i: u32, largest: f32, sum: f32, value: vec4f) {
    let at = (row * params.splits + split) * (V4 + 1);
    partial[at + i] = value;
    if i == 0 {
        partial[at + V4] = vec4f(largest, sum, 0, 0);
    }
}
