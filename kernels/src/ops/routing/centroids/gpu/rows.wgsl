// Precomputes for every row the mean that its norm subtracts and the factor that it applies. Elements are taken
// relative to the largest one, so that squares stay within the range of f32.

struct Params {
    rows: u32,
    x_start: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> rows: array<vec2f>;
@group(1) @binding(0) var<uniform> params: Params;

// EPS of route.
const EPS = 1e-6;

fn invocation(row: u32) {
    if row >= params.rows {
        return;
    }
    let first = params.x_start + row * D;
    var largest = 0.0;
    var sum = 0.0;
    for (var d = 0u; d < D; d += 1) {
        largest = max(largest, abs(x[first + d]));
        sum += x[first + d];
    }
    let one = 1.0 / max(largest, select(1e-37, 1.0, LAYER));
    let mean = select(0.0, sum / f32(D), LAYER);
    var square = 0.0;
    for (var d = 0u; d < D; d += 1) {
        let x = one * (x[first + d] - mean);
        square += x * x;
    }
    var factor = select(one / sqrt(square), 0.0, square <= 0.0);
    if LAYER {
        factor = one / sqrt(square / f32(D) + EPS * one * one);
    }
    rows[row] = vec2f(mean, select(1.0, factor, NORMS));
}
