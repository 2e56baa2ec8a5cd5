var<workgroup> shares: array<vec2f, GROUP>;

// Returns the factors that normalise a query and a key to length 1.
fn factors_of(query: u32, key: u32, lane: u32) -> vec2f {
    var share = vec2f(0);
    for (var i = lane; i < K; i += GROUP) {
        let x = vec2f(q[query + i], k[key + i]);
        share += x * x;
    }
    shares[lane] = share;
    workgroupBarrier();
    var squares = vec2f(params.eps);
    for (var i = 0u; i < GROUP; i += 1) {
        squares += shares[i];
    }
    return inverseSqrt(squares);
}
