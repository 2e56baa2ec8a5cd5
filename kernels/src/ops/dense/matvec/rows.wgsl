// Each invocation owns four rows of the weight and walks them from end to end. For software drivers, on which barriers
// and workgroup memory cost more than they save.

fn invocation(index: u32) {
    let first = index * OUTPUTS;
    if first >= params.rows {
        return;
    }
    let sums = products(rows_of(first), 0, 1);
    var scales = vec4f(1.0);
    if NORM {
        scales = inverses(sums.squares);
    }
    finish(0, first, scales.x * sums.t0);
    if TOKENS > 1 {
        finish(1, first, scales.y * sums.t1);
    }
    if TOKENS > 2 {
        finish(2, first, scales.z * sums.t2);
    }
    if TOKENS > 3 {
        finish(3, first, scales.w * sums.t3);
    }
}

fn finish(token: u32, first: u32, totals: vec4f) {
    write(token, first, totals.x, totals.z);
    if first + 1 < params.rows {
        write(token, first + 1, totals.y, totals.w);
    }
    if !GATED && first + 2 < params.rows {
        write(token, first + 2, totals.z, 0.0);
    }
    if !GATED && first + 3 < params.rows {
        write(token, first + 3, totals.w, 0.0);
    }
}
