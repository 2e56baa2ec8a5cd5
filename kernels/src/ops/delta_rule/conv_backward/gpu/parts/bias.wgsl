@group(0) @binding(3) var<storage, read_write> dbias: array<f32>;

fn store_bias(c: u32, value: f32) {
    dbias[params.bias_start + c] = value;
}
