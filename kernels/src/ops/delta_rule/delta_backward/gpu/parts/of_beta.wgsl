@group(0) @binding(OWN_BINDING) var<storage, read> vectors: array<vec4f>;
@group(0) @binding(OUT_BINDING) var<storage, read_write> dbeta: array<f32>;

fn by_gate(row: u32, i: u32, by: f32) -> f32 {
    return by;
}

fn by_reading(index: u32, i: u32, by: f32) -> f32 {
    return vectors[index * 4 * K4 + i].z * by;
}

fn finish_gate(row: u32, lane: u32, share: f32) {
    let sum = reduce_sum(share, lane);
    if lane == 0 {
        dbeta[params.dbeta_start + row] = sum;
    }
}
