// What the state holds is added along a vector of its own.
@group(0) @binding(B_BINDING) var<storage, read> b: array<f32>;

fn update_of(written: f32, held: f32) -> f32 {
    return written;
}

fn along_of(row: u32, i: u32, held: f32, value: f32) -> f32 {
    return fma(b[params.b_start + row * K + i], held, value);
}
