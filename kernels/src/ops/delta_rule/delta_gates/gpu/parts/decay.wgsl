@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> a_log: array<f32>;
@group(0) @binding(3) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> g: array<f32>;

fn softplus(x: f32) -> f32 {
    let e = exp(-min(abs(x), 80.0));
    // For small e, 1 + e loses bits of e, so the series of log(1 + e) is used.
    return max(x, 0.0) + select(log(1.0 + e), e * (1.0 - 0.5 * e), e < 1e-3);
}

fn decay(row: u32, head: u32) {
    let rate = exp(clamp(a_log[params.a_log_start + head], -80.0, 80.0));
    for (var c = 0u; c < params.channels; c += 1) {
        let i = head * params.channels + c;
        let x = a[params.a_start + row * params.a_stride + i] + dt_bias[params.dt_bias_start + i];
        g[params.g_start + row * params.heads * params.channels + i] = -rate * softplus(x);
    }
}
