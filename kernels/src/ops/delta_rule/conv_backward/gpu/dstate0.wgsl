fn invocation(index: u32) {
    let history = params.window - 1;
    let n = index / params.channels / history;
    if n >= params.sequences {
        return;
    }
    let m = index / params.channels % history;
    to[params.to_start + index] = back(n, tokens_of(n), m, index % params.channels);
}
