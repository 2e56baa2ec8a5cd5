// y[t, j, n] without inputs: the bias of the expert, or 0. One invocation per output, GROUP invocations per workgroup.

struct Params {
    products: u32,
    experts: u32,
    outputs: u32,
    y_stride: u32,
    ids_start: u32,
    bias_start: u32,
    y_start: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(Y) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.products {
        return;
    }
    let pair = index / params.outputs;
    let n = index % params.outputs;
    let expert = ids[params.ids_start + pair];
    var value = 0.0;
    if expert < params.experts {
        value = bias_of(expert * params.outputs + n);
    }
    y[params.y_start + pair * params.y_stride + n] = value;
}
