@group(0) @binding(0) var<storage, read_write> x: array<f32>;

fn store(index: u32, row: u32, at: u32, value: f32) {
    x[params.x_start + row * params.stride + at] = value;
}
