// Each invocation computes one head of a row: its beta, and the log decay of each of its channels.

struct Params {
    rows: u32,
    heads: u32,
    channels: u32,
    b_stride: u32,
    a_stride: u32,
    // Factor of beta: 1 or 2.
    most: f32,
    b_start: u32,
    a_start: u32,
    a_log_start: u32,
    dt_bias_start: u32,
    beta_start: u32,
    g_start: u32,
}

@group(0) @binding(0) var<storage, read> b: array<f32>;
@group(0) @binding(BETA_BINDING) var<storage, read_write> beta: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.rows * params.heads {
        return;
    }
    let row = index / params.heads;
    let head = index % params.heads;
    beta[params.beta_start + index] = params.most * f(b[params.b_start + row * params.b_stride + head]);
    decay(row, head);
}
