// Copies a small vector to its place among the gathered ones: one invocation an element.

struct Params {
    count: u32,
    source_start: u32,
    gathered_start: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> gathered: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.count {
        gathered[params.gathered_start + index] = source[params.source_start + index];
    }
}
