// Each invocation computes one output: the dot product of its channel's
// weights with the inputs of the window, plus bias and activation.

@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(OUT_BINDING) var<storage, read_write> out: array<f32>;

fn activate(kind: u32, x: f32) -> f32 {
    switch kind {
        // The clamp keeps exp(-x) finite: a large negative x gives -0.
        case SILU: { return x / (1.0 + exp(min(-x, 80.0))); }
        case RELU: { return max(x, 0.0); }
        case ELU_PLUS_ONE: { return select(exp(min(x, 0.0)), x + 1.0, x > 0.0); }
        default: { return x; }
    }
}

fn invocation(index: u32) {
    if index >= params.rows * params.channels {
        return;
    }
    let row = index / params.channels;
    let c = index % params.channels;
    let part = part_of(c);
    let to = params.out_start + params.rows * part.x + row * part.y + c - part.x;
    let n = sequence_of(row);
    let tokens = tokens_of(n);
    let t = row - batch_of(n) * params.tokens;
    if t < tokens.x || t >= tokens.y || slot_of(n) >= params.slots {
        out[to] = 0.0;
        return;
    }
    var sum = bias_of(c);
    for (var j = 0u; j < params.window; j += 1) {
        sum = fma(weight[params.weight_start + c * params.window + j], input(n, tokens, t - tokens.x + j, c), sum);
    }
    out[to] = activate(part.z, sum);
    keep(n, tokens, c);
}
