// out[r, i] = (u + 1) g sigmoid(alpha g): one invocation per output, GROUP invocations per workgroup.

struct Params {
    outputs: u32,
    dim: u32,
    alpha: f32,
    limit: f32,
    x_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.outputs {
        return;
    }
    let at = params.x_start + index / params.dim * 2 * params.dim + index % params.dim;
    let g = min(x[at], params.limit);
    let u = clamp(x[at + params.dim], -params.limit, params.limit);
    // Beyond this bound the sigmoid is 0 in f32, and the exponential stays finite.
    out[params.out_start + index] = (u + 1.0) * g / (1.0 + exp(min(-params.alpha * g, 80.0)));
}
