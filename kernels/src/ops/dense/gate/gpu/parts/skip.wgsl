@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read> skip: array<f32>;

fn skipped(row: u32, at: u32) -> f32 {
    return skip[params.skip_start + at / params.dim] * s[params.s_start + row * params.skip_stride + at];
}
