// A vector of its own is read, of the state before its decay, and values are written as they are.
@group(0) @binding(GATES_BINDING) var<storage, read> a: array<f32>;

fn read_of(row: u32, i: u32, key: f32, decay: f32) -> f32 {
    return a[params.a_start + row * K + i];
}

fn erase_of(row: u32, i: u32) -> f32 {
    return 0.0;
}

fn write_of(row: u32, i: u32) -> f32 {
    return 1.0;
}
