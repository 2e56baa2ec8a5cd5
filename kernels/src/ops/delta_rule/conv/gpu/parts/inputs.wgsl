// Parameters of all passes, and the inputs of a sequence, which begin with those in its state.

struct Params {
    // `rows`: tokens of all sequences together. `tokens`: tokens of each sequence, or of all if packed.
    rows: u32,
    tokens: u32,
    channels: u32,
    window: u32,
    stride: u32,
    // First channels of the second and the third part.
    second: u32,
    third: u32,
    sequences: u32,
    // Number of states.
    slots: u32,
    x_start: u32,
    weight_start: u32,
    bias_start: u32,
    cu_start: u32,
    slots_start: u32,
    pool_start: u32,
    before_start: u32,
    after_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// Returns the input of token `t - (W - 1)` of sequence `n`.
fn input(n: u32, tokens: vec2u, t: u32, c: u32) -> f32 {
    let history = params.window - 1;
    if t < history {
        return before(slot_of(n) * history * params.channels + t * params.channels + c);
    }
    let row = batch_of(n) * params.tokens + tokens.x + t - history;
    return x[params.x_start + row * params.stride + c];
}
