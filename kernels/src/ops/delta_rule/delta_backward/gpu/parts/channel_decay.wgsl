@group(0) @binding(DG_BINDING) var<storage, read_write> dg: array<f32>;

fn by_decay(row: u32, i: u32, by: f32) -> f32 {
    dg[params.dg_start + row * K + i] = by;
    return 0.0;
}

fn finish_decay(row: u32, lane: u32, share: f32) {}
