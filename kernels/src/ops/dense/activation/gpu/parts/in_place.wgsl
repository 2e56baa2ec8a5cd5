@group(0) @binding(0) var<storage, read_write> x: array<f32>;

fn store(at: u32, index: u32, y: f32) {
    x[at] = y;
}
