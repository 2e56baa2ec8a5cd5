// What all passes know: the inputs of a sequence, those before it from its state.

struct Params {
    // Tokens of all sequences, and of each; packed of all.
    rows: u32,
    tokens: u32,
    channels: u32,
    window: u32,
    stride: u32,
    // The first channels of the second and of the third part.
    second: u32,
    third: u32,
    sequences: u32,
    // States that there are.
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

// The input of token `t - (W - 1)` of sequence `n`.
fn input(n: u32, tokens: vec2u, t: u32, c: u32) -> f32 {
    let history = params.window - 1;
    if t < history {
        return before(slot_of(n) * history * params.channels + t * params.channels + c);
    }
    let row = batch_of(n) * params.tokens + tokens.x + t - history;
    return x[params.x_start + row * params.stride + c];
}
