// out[t, s, i] = sum_j w[t, s, j] y[t, j, i]: one invocation per output, GROUP invocations per workgroup.

struct Params {
    outputs: u32,
    chosen: u32,
    dim: u32,
    y_start: u32,
    weights_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.outputs {
        return;
    }
    // A row is one of the SUMS sums of a token.
    let row = index / params.dim;
    let token = row / SUMS;
    let i = index % params.dim;
    var sum = 0.0;
    if ACCUMULATE {
        sum = out[params.out_start + index];
    }
    for (var j = 0u; j < params.chosen; j += 1) {
        let weight = weights[params.weights_start + row * params.chosen + j];
        let value = y[params.y_start + (token * params.chosen + j) * params.dim + i];
        sum += select(weight, 1.0 / (1.0 + exp(min(-weight, 80.0))), SIGMOID) * value;
    }
    out[params.out_start + index] = sum;
}
