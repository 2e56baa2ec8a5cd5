@group(0) @binding(GATES_BINDING) var<storage, read> beta: array<f32>;

fn erase_of(row: u32, i: u32) -> f32 {
    return 0.0;
}

fn write_of(row: u32, i: u32) -> f32 {
    return beta[params.beta_start + row];
}
