// y[i] += x[i]: one invocation per element, GROUP invocations per workgroup.

struct Params {
    elements: u32,
    x_start: u32,
    y_start: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.elements {
        return;
    }
    y[params.y_start + index] += x[params.x_start + index];
}
