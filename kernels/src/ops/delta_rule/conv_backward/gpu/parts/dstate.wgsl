@group(0) @binding(DSTATE_BINDING) var<storage, read> dstate: array<f32>;

fn after(at: u32) -> f32 {
    return dstate[params.dstate_start + at];
}
