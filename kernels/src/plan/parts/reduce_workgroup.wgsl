// Returns the sum of `value` over the GROUP lanes of a workgroup
// (a power of two) to every lane. Requires uniform control flow.

var<workgroup> reduced: array<f32, GROUP>;

fn reduce_sum(value: f32, lane: u32) -> f32 {
    // Barrier: lanes may still be reading the sum of the previous call.
    workgroupBarrier();
    reduced[lane] = value;
    workgroupBarrier();
    for (var width = GROUP / 2; width > 0; width /= 2) {
        if lane < width {
            reduced[lane] += reduced[lane + width];
        }
        workgroupBarrier();
    }
    return reduced[0];
}
