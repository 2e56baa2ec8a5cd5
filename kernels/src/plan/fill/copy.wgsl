// Copies a tensor of 32-bit words, one invocation per element.

struct Params {
    elements: u32,
    out_start: u32,
    source_start: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.elements {
        out[params.out_start + index] = source[params.source_start + index];
    }
}
