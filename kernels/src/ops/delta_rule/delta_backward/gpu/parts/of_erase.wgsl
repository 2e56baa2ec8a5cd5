@group(0) @binding(OUT_BINDING) var<storage, read_write> derase: array<f32>;

fn erased(row: u32, i: u32, by: f32) {
    derase[params.derase_start + row * K + i] = by;
}
