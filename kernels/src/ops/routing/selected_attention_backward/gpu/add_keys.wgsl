// Adds the gradients of shared keys to dq, through their normalisation, one invocation per row.

struct Params {
    rows: u32,
    q_start: u32,
    dq_start: u32,
    // D as a uniform: an unknown trip count stops the compiler
    // from unrolling a loop into more registers than there are.
    dim: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> factors: array<f32>;
@group(0) @binding(2) var<storage, read> dk: array<f32>;
@group(0) @binding(3) var<storage, read_write> dq: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(row: u32) {
    if row >= params.rows {
        return;
    }
    var factor = 1.0;
    var along = 0.0;
    if NORMALIZE {
        factor = factors[row];
        for (var d = 0u; d < params.dim; d += 1) {
            along += factor * q[params.q_start + row * D + d] * dk[row * D + d];
        }
    }
    for (var d = 0u; d < params.dim; d += 1) {
        let unit = factor * q[params.q_start + row * D + d];
        dq[params.dq_start + row * D + d] += factor * (dk[row * D + d] - unit * along);
    }
}
