@group(0) @binding(BEFORE_BINDING) var<storage, read> state0: array<f32>;

fn before(at: u32) -> f32 {
    return state0[params.before_start + at];
}
