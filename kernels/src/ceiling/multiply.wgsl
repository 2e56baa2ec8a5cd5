// Multiply-adds in registers: eight independent chains of vec4 per invocation, GROUP invocations per workgroup. The
// sums are stored so that the compiler cannot remove the loop.

struct Params {
    rounds: u32,
    invocations: u32,
    factor: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

fn invocation(index: u32) {
    if index >= params.invocations {
        return;
    }
    let x = vec4f(params.factor);
    let y = vec4f(f32(index % GROUP));
    var a = y;
    var b = y + 1.0;
    var c = y + 2.0;
    var d = y + 3.0;
    var e = y + 4.0;
    var f = y + 5.0;
    var g = y + 6.0;
    var h = y + 7.0;
    for (var i = 0u; i < params.rounds; i++) {
        a = fma(a, x, y);
        b = fma(b, x, y);
        c = fma(c, x, y);
        d = fma(d, x, y);
        e = fma(e, x, y);
        f = fma(f, x, y);
        g = fma(g, x, y);
        h = fma(h, x, y);
    }
    let sum = a + b + c + d + e + f + g + h;
    out[index] = sum.x + sum.y + sum.z + sum.w;
}
