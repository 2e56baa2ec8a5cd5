// Computes y[t, n] from the products with a weight split over several bindings, one invocation per output.

struct Params {
    tokens: u32,
    outputs: u32,
    y_stride: u32,
    y_start: u32,
}

@group(0) @binding(0) var<storage, read> products: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.tokens * params.outputs {
        return;
    }
    let token = index / params.outputs;
    let n = index % params.outputs;
    let gate = token * 2 * params.outputs + n;
    var value = f(products[gate]) * products[gate + params.outputs];
    let at = params.y_start + token * params.y_stride + n;
    if RESIDUAL {
        value += y[at];
    }
    y[at] = value;
}
