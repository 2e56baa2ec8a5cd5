@group(0) @binding(GATES_BINDING) var<storage, read> erase: array<f32>;

fn erase_of(row: u32, i: u32) -> f32 {
    return erase[params.erase_start + row * K + i];
}
