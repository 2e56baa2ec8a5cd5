@group(0) @binding(Y) var<storage, read_write> y: array<f32>;

// Writes output `row` of this piece.
fn write(token: u32, row: u32, value: f32) {
    let n = params.row0 + row;
    y[params.y_start + token * params.y_stride + n] = value + bias_of(n);
}
