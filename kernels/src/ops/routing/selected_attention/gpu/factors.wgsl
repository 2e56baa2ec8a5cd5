// Computes 1 / |q| of every row, 0 for a row of zeros. Elements are taken relative to the largest one, so that no
// square leaves the range of f32.

struct Params {
    rows: u32,
    q_start: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read_write> factors: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(row: u32) {
    if row >= params.rows {
        return;
    }
    let first = params.q_start + row * D;
    var largest = 0.0;
    for (var d = 0u; d < D; d += 1) {
        largest = max(largest, abs(q[first + d]));
    }
    var sum = 0.0;
    let one = select(1.0 / largest, 0.0, largest < 1e-37);
    for (var d = 0u; d < D; d += 1) {
        let x = one * q[first + d];
        sum += x * x;
    }
    factors[row] = select(one / sqrt(sum), 0.0, largest < 1e-37);
}
