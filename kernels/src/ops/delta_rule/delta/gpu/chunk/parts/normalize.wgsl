// Factors that normalise the query and the key of each token to length 1: eight lanes sum the squares of a token.

var<workgroup> factors: array<vec2f, TOKENS>;
var<workgroup> shares: array<vec2f, GROUP>;

fn fill_factors(row: u32, tokens: u32, lane: u32) {
    for (var first = 0u; first < tokens; first += GROUP / 8) {
        let t = first + lane / 8;
        var share = vec2f();
        if t < tokens {
            let at = (row + t * HEADS) * K;
            for (var i = lane % 8; i < K; i += 8) {
                let x = vec2f(q[params.q_start + at + i], k[params.k_start + at + i]);
                share += x * x;
            }
        }
        shares[lane] = share;
        workgroupBarrier();
        if lane % 8 == 0 && t < tokens {
            var squares = vec2f(params.eps);
            for (var i = 0u; i < 8; i += 1) {
                squares += shares[lane + i];
            }
            factors[t] = inverseSqrt(squares);
        }
        // Barrier: the shares have been read, and the factors are stored.
        workgroupBarrier();
    }
}

fn factor_of(t: u32) -> vec2f {
    return factors[t];
}
