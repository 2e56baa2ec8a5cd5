@group(0) @binding(4) var<storage, read> alibi: array<f32>;

fn slope(h: u32) -> f32 {
    return alibi[params.alibi_start + h];
}
