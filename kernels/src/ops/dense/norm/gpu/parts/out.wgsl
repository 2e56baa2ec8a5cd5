@group(0) @binding(OUT_BINDING) var<storage, read_write> out: array<f32>;

fn store(at: u32, dense: u32, value: f32) {
    out[params.out_start + dense] = value;
}
