// out[t, s, i] = 0: the sum of no experts.

struct Params {
    outputs: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.outputs {
        out[params.out_start + index] = 0.0;
    }
}
