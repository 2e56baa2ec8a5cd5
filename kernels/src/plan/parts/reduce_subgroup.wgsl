// The sum of `value` over the GROUP lanes of a workgroup, in every lane. Uniform control flow.
//
// Subgroups may have any size and hold any lanes: the first lane of each leaves its subgroup's sum at its own place, the
// others 0, and every subgroup adds up all places.

var<workgroup> reduced: array<f32, GROUP>;

fn reduce_sum(value: f32, lane: u32) -> f32 {
    let size = subgroupAdd(1u);
    let rank = subgroupExclusiveAdd(1u);
    let sum = subgroupAdd(value);
    // Lanes may still be reading the sums before these.
    workgroupBarrier();
    reduced[lane] = select(0.0, sum, rank == 0);
    workgroupBarrier();
    var total = 0.0;
    for (var i = rank; i < GROUP; i += size) {
        total += reduced[i];
    }
    return subgroupAdd(total);
}
