// b = a: one vector of 16 bytes an invocation, GROUP of them a workgroup.

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
