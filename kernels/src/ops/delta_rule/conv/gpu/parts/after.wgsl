@group(0) @binding(AFTER_BINDING) var<storage, read_write> state: array<f32>;

fn store(at: u32, value: f32) {
    state[params.after_start + at] = value;
}
