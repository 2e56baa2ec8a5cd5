struct Params {
    vocab: u32,
    penalty: f32,
    logits_start: u32,
    seen_start: u32,
}

// Bits of f32, because infinity and NaN have to be detected before a conversion to a number.
@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;
