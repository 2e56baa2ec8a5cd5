@group(0) @binding(Y) var<storage, read_write> y: array<f32>;

// Returns the four rows of the weight for the OUTPUTS outputs from `first` on: two gates and their gated rows, or four
// rows. Rows past the end repeat the last one.
fn rows_of(first: u32) -> vec4u {
    let last = params.rows - 1;
    if GATED {
        let gates = min(vec2u(first, first + 1), vec2u(last));
        return vec4u(gates, gates + params.up);
    }
    return min(vec4u(first) + vec4u(0, 1, 2, 3), vec4u(last));
}

// Writes output `row` of this piece from its product and, with GATED, the product that it gates.
fn write(token: u32, row: u32, product: f32, gated: f32) {
    let n = params.row0 + row;
    var value = f(product + bias_of(n));
    if GATED {
        value *= gated + bias_of(n + params.up);
    }
    let at = params.y_start + token * params.y_stride + n;
    if RESIDUAL {
        value += y[at];
    }
    y[at] = value;
}
