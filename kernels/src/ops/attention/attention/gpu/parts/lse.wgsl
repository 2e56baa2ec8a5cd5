@group(0) @binding(LSE_BINDING) var<storage, read_write> lse: array<f32>;

fn store_lse(row: u32, value: f32) {
    lse[params.lse_start + row] = value;
}
