// A workgroup normalises one group of a row, in passes over its elements: mean (layer norm only), variance, output.
// The linked parts load and store elements; each element is always handled by the same lane.

struct Params {
    rows: u32,
    groups: u32,
    dim: u32,
    stride: u32,
    gate_stride: u32,
    eps: f32,
    x_start: u32,
    residual_start: u32,
    weight_start: u32,
    bias_start: u32,
    gate_start: u32,
    out_start: u32,
}

@group(0) @binding(WEIGHT_BINDING) var<storage, read> weight: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) ids: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = id.y * ids.x + id.x;
    if index >= params.rows * params.groups {
        return;
    }
    let at = params.x_start + index / params.groups * params.stride + index % params.groups * params.dim;
    let dense = index * params.dim;
    var own = params.weight_start;
    if OWN {
        own += index % params.groups * params.dim;
    }
    let gated = params.gate_start + index / params.groups * params.gate_stride + index % params.groups * params.dim;

    var mean = 0.0;
    if LAYER {
        var sum = 0.0;
        for (var i = lane; i < params.dim; i += GROUP) {
            sum += input(at + i, dense + i);
        }
        mean = reduce_sum(sum, lane) / f32(params.dim);
    }

    var squares = 0.0;
    for (var i = lane; i < params.dim; i += GROUP) {
        let value = input(at + i, dense + i);
        keep(at + i, value);
        squares += (value - mean) * (value - mean);
    }
    // With eps 0, a row of zeros has a variance of zero; the
    // bound, the smallest normal number, keeps its inverse finite.
    let inverse = inverseSqrt(max(reduce_sum(squares, lane) / f32(params.dim) + params.eps, 1.2e-38));

    for (var i = lane; i < params.dim; i += GROUP) {
        var w = weight[own + i];
        if ONE_PLUS {
            w += 1.0;
        }
        store(at + i, dense + i, ((x[at + i] - mean) * inverse * w + bias_of(i)) * factor_of(gated + i));
    }
}
