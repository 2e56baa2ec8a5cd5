// out[t, i] = sum_j w[t, j] y[t, j, i]: one invocation per output, GROUP invocations per workgroup.

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
    let token = index / params.dim;
    let i = index % params.dim;
    var sum = 0.0;
    if ACCUMULATE {
        sum = out[params.out_start + index];
    }
    for (var j = token * params.chosen; j < (token + 1) * params.chosen; j += 1) {
        let weight = weights[params.weights_start + j];
        sum += select(weight, 1.0 / (1.0 + exp(min(-weight, 80.0))), SIGMOID) * y[params.y_start + j * params.dim + i];
    }
    out[params.out_start + index] = sum;
}
