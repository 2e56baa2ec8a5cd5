@group(0) @binding(ALIBI_BINDING) var<storage, read> alibi: array<f32>;

fn alibi_at(i: u32) -> f32 {
    return alibi[params.alibi_start + i];
}
