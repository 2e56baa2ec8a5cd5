// Entry `n` of a token's keys: the own entries of each head, and behind them the tail that all heads share.

@group(0) @binding(TAIL_BINDING) var<storage, read> tail: array<Element>;

fn key(token: u32, n: u32) -> Element {
    let head = n / (params.own + params.tail_width);
    let within = n % (params.own + params.tail_width);
    if within < params.own {
        return k[params.k_start + token * params.k_stride + head * params.own + within];
    }
    return tail[params.tail_start + token * params.tail_stride + within - params.own];
}
