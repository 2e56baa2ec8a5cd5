// out[r, i] = f(x[r, i]) [* x[r, DIM + i] or out[r, i]]: one invocation per output, GROUP invocations per workgroup.

struct Params {
    rows: u32,
    dim: u32,
    stride: u32,
    bound: f32,
    positive: f32,
    negative: f32,
    linear: f32,
    limit: f32,
    x_start: u32,
    out_start: u32,
}

@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.rows * params.dim {
        return;
    }
    let i = index % params.dim;
    let at = params.x_start + index / params.dim * params.stride + i;
    var y = f(x[at]);
    if GATED {
        y *= x[at + params.dim];
    }
    store(at, index, y);
}
