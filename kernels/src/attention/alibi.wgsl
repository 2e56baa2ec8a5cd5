@group(0) @binding(ALIBI_BINDING) var<storage, read> alibi: array<f32>;

fn slope(h: u32) -> f32 {
    return LOG2_E * alibi[params.alibi_start + h];
}
