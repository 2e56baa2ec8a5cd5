@group(0) @binding(OUT_BINDING) var<storage, read_write> out: array<vec4f>;

fn store_out(row: u32, i: u32, value: vec4f) {
    out[params.out_start + row * OUT_WIDTH + i] = value;
}
