@group(0) @binding(POOL_BINDING) var<storage, read_write> pool: array<f32>;

fn before(at: u32) -> f32 {
    return pool[params.pool_start + at];
}

fn store(at: u32, value: f32) {
    pool[params.pool_start + at] = value;
}
