// The sum of `value` over the GROUP lanes of a workgroup (a power of two), in every lane. Uniform control flow.

var<workgroup> reduced: array<f32, GROUP>;

fn reduce_sum(value: f32, lane: u32) -> f32 {
    // Lanes may still be reading the sum before this one.
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
