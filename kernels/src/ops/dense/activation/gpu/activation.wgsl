// out[r, i] = f(x[r, i]) [* x[r, DIM + i] or out[r, i]]: one invocation per output, GROUP invocations per workgroup.

struct Params {
    rows: u32,
    dim: u32,
    stride: u32,
    x_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
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
    if SCALES {
        y *= out[params.out_start + index];
    }
    out[params.out_start + index] = y;
}
