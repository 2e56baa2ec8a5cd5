// Returns the sum of `value` over the GROUP lanes of a workgroup to every lane. Requires uniform control flow.
//
// Subgroups may have any size and hold any lanes. The first lane of each subgroup stores its subgroup's sum at its own
// index, the other lanes store 0, and every subgroup then sums all indices.

var<workgroup> reduced: array<f32, GROUP>;

fn reduce_sum(value: f32, lane: u32) -> f32 {
    let size = subgroupAdd(1u);
    let rank = subgroupExclusiveAdd(1u);
    let sum = subgroupAdd(value);
    // Barrier: lanes may still be reading the sums of the previous call.
    workgroupBarrier();
    reduced[lane] = select(0.0, sum, rank == 0);
    workgroupBarrier();
    var total = 0.0;
    for (var i = rank; i < GROUP; i += size) {
        total += reduced[i];
    }
    return subgroupAdd(total);
}
