// Softmax state of a row: its largest logit so far, and the sum of exp2 relative to it. Before any key the largest
// logit is NONE, a finite number, because a compiler may assume that infinity does not occur.

const NONE = -3.0e38;
const LOG2_E = 1.44269504;
const LN_2 = 0.69314718;

// Returns the factor that rescales sums from the maximum `before` to the maximum `after`; 0 if there are no sums yet.
fn rescale(before: f32, after: f32) -> f32 {
    return select(exp2(before - after), 0.0, before <= NONE);
}
