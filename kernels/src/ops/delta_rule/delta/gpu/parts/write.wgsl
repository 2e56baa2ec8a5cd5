@group(0) @binding(WRITE_BINDING) var<storage, read> write_gate: array<f32>;

fn write_of(row: u32, i: u32) -> f32 {
    return write_gate[params.write_start + row * V + i];
}
