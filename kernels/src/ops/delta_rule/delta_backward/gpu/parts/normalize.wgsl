// Returns the components of the derivatives along queries and keys, which the normalisation removes.
fn along_of(share: vec2f, lane: u32) -> vec2f {
    // Barrier: other lanes may still be reading the squares.
    workgroupBarrier();
    shares[lane] = share;
    workgroupBarrier();
    var sum = vec2f();
    for (var i = 0u; i < GROUP; i += 1) {
        sum += shares[i];
    }
    return sum;
}
