@group(0) @binding(OUT_BINDING) var<storage, read_write> out: array<f32>;

fn store_out(row: u32, i: u32, value: vec4f) {
    for (var c = 0u; c < min(4u, OUT_WIDTH - 4 * i); c += 1) {
        out[params.out_start + row * OUT_WIDTH + 4 * i + c] = value[c];
    }
}
