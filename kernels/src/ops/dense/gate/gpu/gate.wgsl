// Each invocation computes one output.

struct Params {
    outputs: u32,
    width: u32,
    dim: u32,
    stride: u32,
    skip_stride: u32,
    gate_stride: u32,
    together: u32,
    factor: f32,
    scale: f32,
    x_start: u32,
    s_start: u32,
    skip_start: u32,
    gate_start: u32,
    out_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.outputs {
        return;
    }
    let row = index / params.width;
    let at = index % params.width;
    let y = x[params.x_start + row * params.stride + at] + skipped(row, at);
    store(index, row, at, params.scale * y * gate_of(row, at));
}
