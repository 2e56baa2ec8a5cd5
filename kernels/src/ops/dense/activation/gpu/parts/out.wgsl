@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

fn store(at: u32, index: u32, y: f32) {
    if SCALES {
        out[params.out_start + index] *= y;
    } else {
        out[params.out_start + index] = y;
    }
}
