// Gradient of the argument of the activation, one output per invocation; 0 for rows of no sequence.

@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;

fn slope(kind: u32, x: f32) -> f32 {
    // The clamp keeps exp(-x) finite.
    let sigmoid = 1.0 / (1.0 + exp(min(-x, 80.0)));
    switch kind {
        case SILU: { return sigmoid * (1.0 + x * (1.0 - sigmoid)); }
        case RELU: { return select(0.0, 1.0, x > 0.0); }
        case ELU_PLUS_ONE: { return select(exp(min(x, 0.0)), 1.0, x > 0.0); }
        default: { return 1.0; }
    }
}

fn invocation(index: u32) {
    if index >= params.rows * params.channels {
        return;
    }
    let row = index / params.channels;
    let c = index % params.channels;
    let part = part_of(c);
    let n = sequence_of(row);
    let tokens = tokens_of(n);
    let t = row - batch_of(n) * params.tokens;
    if t < tokens.x || t >= tokens.y {
        dz[index] = 0.0;
        return;
    }
    var sum = bias_of(c);
    for (var j = 0u; j < params.window; j += 1) {
        sum = fma(weight[params.weight_start + c * params.window + j], input(n, tokens, t - tokens.x + j, c), sum);
    }
    let at = params.out_start + params.rows * part.x + row * part.y + c - part.x;
    dz[index] = dout[at] * slope(part.z, sum);
}
