@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(OUT_BINDING) var<storage, read_write> out: array<f32>;

fn store(index: u32, row: u32, at: u32, value: f32) {
    out[params.out_start + index] = value;
}
