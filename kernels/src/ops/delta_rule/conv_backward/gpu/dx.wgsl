fn invocation(index: u32) {
    if index >= params.rows * params.channels {
        return;
    }
    let row = index / params.channels;
    let n = sequence_of(row);
    let tokens = tokens_of(n);
    let t = row - batch_of(n) * params.tokens;
    var value = 0.0;
    if t >= tokens.x && t < tokens.y {
        value = back(n, tokens, t - tokens.x + params.window - 1, index % params.channels);
    }
    to[params.to_start + index] = value;
}
