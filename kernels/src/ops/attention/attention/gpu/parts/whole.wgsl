// Finishes a row (b, t, h) after all of its keys: adds the sink, divides by the sum and stores vector `i`.
fn finish(row: u32, h: u32, split: u32, i: u32, largest: f32, sum: f32, value: vec4f) {
    let s = sink(h);
    let top = max(largest, s);
    let factor = rescale(largest, top);
    let total = sum * factor + rescale(s, top);
    let some = total > 0.0;
    store_out(row, i, select(vec4f(), value * (factor / total), some));
    if i == 0 {
        store_lse(row, select(NONE, LN_2 * (top + log2(total)), some));
    }
}
