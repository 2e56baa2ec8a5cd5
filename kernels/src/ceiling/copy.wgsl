// Copies `a` to `b`: each invocation moves one 16-byte vector. A workgroup has GROUP invocations.

struct Params {
    vectors: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4u>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index < params.vectors {
        b[index] = a[index];
    }
}
