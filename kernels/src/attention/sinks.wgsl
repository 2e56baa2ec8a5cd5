@group(0) @binding(SINKS_BINDING) var<storage, read> sinks: array<f32>;

fn sink(h: u32) -> f32 {
    return LOG2_E * sinks[params.sinks_start + h];
}
