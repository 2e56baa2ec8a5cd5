@group(0) @binding(SINKS_BINDING) var<storage, read> sinks: array<f32>;

fn sinks_at(i: u32) -> f32 {
    return sinks[params.sinks_start + i];
}
