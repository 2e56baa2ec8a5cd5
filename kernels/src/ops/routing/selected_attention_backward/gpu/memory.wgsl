// Sums a memory slot's gradient over the sequences, one invocation per element.

struct Params {
    elements: u32,
    batch: u32,
    first: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.elements {
        return;
    }
    var sum = 0.0;
    for (var b = 0u; b < params.batch; b += 1) {
        sum += sums[params.first + b * params.elements + index];
    }
    out[params.out_start + index] = sum;
}
