// Propagates derivatives from outputs back to the inputs of their windows.

struct Params {
    rows: u32,
    tokens: u32,
    channels: u32,
    window: u32,
    sequences: u32,
    weight_start: u32,
    cu_start: u32,
    dstate_start: u32,
    to_start: u32,
}

@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read> dz: array<f32>;
@group(0) @binding(2) var<storage, read_write> to: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// Returns the gradient of the input of token `m - (W - 1)` of sequence `n`.
fn back(n: u32, tokens: vec2u, m: u32, c: u32) -> f32 {
    let count = tokens.y - tokens.x;
    let first = batch_of(n) * params.tokens + tokens.x;
    var sum = 0.0;
    if m >= count {
        sum = after((n * (params.window - 1) + m - count) * params.channels + c);
    }
    for (var j = 0u; j < params.window; j += 1) {
        // Wraps around for outputs before the first token, which the comparison then skips.
        let t = m - j;
        if t < count {
            sum = fma(weight[params.weight_start + c * params.window + j], dz[(first + t) * params.channels + c], sum);
        }
    }
    return sum;
}
