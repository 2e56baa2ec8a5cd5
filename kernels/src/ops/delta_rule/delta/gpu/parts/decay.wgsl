@group(0) @binding(G_BINDING) var<storage, read> g: array<f32>;

// Returns a log decay; there are DECAYS per row. The clamp changes nothing in f32.
fn log_decay_of(row: u32, i: u32) -> f32 {
    return max(g[params.g_start + row * DECAYS + min(i, DECAYS - 1)], -100.0);
}
