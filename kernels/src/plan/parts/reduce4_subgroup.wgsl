// The sum of `value` over the GROUP lanes of a workgroup, in every lane. Uniform control flow.
//
// Subgroups may have any size and hold any lanes: the first lane of each leaves its subgroup's sum at its own place, the
// others 0, and every subgroup adds up all places.

var<workgroup> reduced: array<vec4f, GROUP>;

fn reduce_sum4(value: vec4f, lane: u32) -> vec4f {
    let size = subgroupAdd(1u);
    let rank = subgroupExclusiveAdd(1u);
    let sum = subgroupAdd(value);
    // Lanes may still be reading the sums before these.
    workgroupBarrier();
    reduced[lane] = select(vec4f(), sum, rank == 0);
    workgroupBarrier();
    var total = vec4f();
    for (var i = rank; i < GROUP; i += size) {
        total += reduced[i];
    }
    return subgroupAdd(total);
}
