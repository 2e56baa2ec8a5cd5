// Combines vector `i` of a row from its segments. `segment_state` is a segment's largest logit and sum of weights,
// `segment_value` its weighted sum of values. With zero segments the row is one without keys.
fn combine(row: u32, h: u32, i: u32) {
    var largest = NONE;
    for (var s = 0u; s < params.segments; s += 1) {
        largest = max(largest, segment_state(row, s).x);
    }
    var sum = 0.0;
    var value = vec4f();
    for (var s = 0u; s < params.segments; s += 1) {
        let state = segment_state(row, s);
        let factor = rescale(state.x, largest);
        // The value of a segment without keys is never read.
        if factor > 0.0 {
            sum += factor * state.y;
            value += factor * segment_value(row, s, i);
        }
    }
    finish(row, h, 0, i, largest, sum, value);
}
