// The derivatives along queries and keys, which their length takes away.
fn along_of(share: vec2f, lane: u32) -> vec2f {
    // Others may still be at the squares.
    workgroupBarrier();
    shares[lane] = share;
    workgroupBarrier();
    var sum = vec2f();
    for (var i = 0u; i < GROUP; i += 1) {
        sum += shares[i];
    }
    return sum;
}
