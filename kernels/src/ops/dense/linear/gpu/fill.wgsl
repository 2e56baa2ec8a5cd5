// A product over no inputs: y[t, n] = bias[n] or 0, one invocation per output.

fn invocation(index: u32) {
    if index < params.tokens * params.rows {
        write(index / params.rows, index % params.rows, 0.0);
    }
}
