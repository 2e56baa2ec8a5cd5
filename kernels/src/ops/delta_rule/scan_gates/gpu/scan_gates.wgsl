// Each invocation computes the step and the log decay of one head of a row.

struct Params {
    units: u32,
    heads: u32,
    stride: u32,
    factor: f32,
    least: f32,
    most: f32,
    dt_start: u32,
    a_log_start: u32,
    dt_bias_start: u32,
    step_start: u32,
    g_start: u32,
}

@group(0) @binding(0) var<storage, read> dt: array<f32>;
@group(0) @binding(1) var<storage, read> a_log: array<f32>;
@group(0) @binding(2) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> step: array<f32>;
@group(0) @binding(4) var<storage, read_write> g: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.units {
        return;
    }
    let row = index / params.heads;
    let head = index % params.heads;
    let x = fma(params.factor, dt[params.dt_start + row * params.stride + head], dt_bias[params.dt_bias_start + head]);
    let e = exp(-min(abs(x), 80.0));
    // For small e, 1 + e loses bits of e, so the series of log(1 + e) is used.
    let softplus = max(x, 0.0) + select(log(1.0 + e), e * (1.0 - 0.5 * e), e < 1e-3);
    let bounded = min(max(softplus, params.least), params.most);
    step[params.step_start + index] = bounded;
    g[params.g_start + index] = -exp(clamp(a_log[params.a_log_start + head], -80.0, 80.0)) * bounded;
}
