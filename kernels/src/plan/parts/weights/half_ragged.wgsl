@group(0) @binding(1) var<storage, read> weight: array<u32>;

fn element(at: u32) -> f32 {
    let two = halves(weight[params.weight_start + at / 2]);
    return select(two.x, two.y, (at & 1) == 1);
}
