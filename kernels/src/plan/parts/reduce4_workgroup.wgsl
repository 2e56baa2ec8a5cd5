// Returns the sum of `value` over the GROUP lanes of a workgroup (a multiple of 16) to every lane. Requires uniform
// control flow.
// Two levels, of GROUP / 16 and 16 terms, need few barriers, and the rounding error grows with the longer of the two.

var<workgroup> reduced: array<vec4f, GROUP>;

fn reduce_sum4(value: vec4f, lane: u32) -> vec4f {
    // Barrier: lanes may still be reading the sums of the previous call.
    workgroupBarrier();
    reduced[lane] = value;
    workgroupBarrier();
    var column = vec4f();
    if lane < 16 {
        for (var i = lane; i < GROUP; i += 16) {
            column += reduced[i];
        }
    }
    workgroupBarrier();
    if lane < 16 {
        reduced[lane] = column;
    }
    workgroupBarrier();
    var total = vec4f();
    for (var i = 0u; i < 16; i++) {
        total += reduced[i];
    }
    return total;
}
