// Each invocation sums one weight over all tokens. A bias is the weight of a constant input of 1. Here `weight_start`
// and `bias_start` are the offsets of the gradients.

@group(0) @binding(1) var<storage, read> dz: array<f32>;
@group(0) @binding(2) var<storage, read_write> dweight: array<f32>;

fn invocation(index: u32) {
    if index >= params.channels * WEIGHTS {
        return;
    }
    // Adjacent invocations read adjacent channels, which coalesces their loads.
    let c = index % params.channels;
    let j = index / params.channels;
    var sum = 0.0;
    for (var n = 0u; n < params.sequences; n += 1) {
        let tokens = tokens_of(n);
        let first = batch_of(n) * params.tokens + tokens.x;
        for (var t = 0u; t < tokens.y - tokens.x; t += 1) {
            var z = 1.0;
            if j < params.window {
                z = input(n, tokens, t + j, c);
            }
            sum = fma(dz[(first + t) * params.channels + c], z, sum);
        }
    }
    if j < params.window {
        dweight[params.weight_start + c * params.window + j] = sum;
    } else {
        store_bias(c, sum);
    }
}
