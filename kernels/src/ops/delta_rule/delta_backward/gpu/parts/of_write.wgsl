@group(0) @binding(OUT_BINDING) var<storage, read_write> dwrite: array<f32>;

fn by_gate(row: u32, i: u32, by: f32) -> f32 {
    dwrite[params.dwrite_start + row * V + i] = by;
    return 0.0;
}

fn by_reading(index: u32, i: u32, by: f32) -> f32 {
    return 0.0;
}

fn finish_gate(row: u32, lane: u32, share: f32) {}
