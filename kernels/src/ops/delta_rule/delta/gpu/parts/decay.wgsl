@group(0) @binding(G_BINDING) var<storage, read> g: array<f32>;

// DECAYS of them a row. What is below leaves nothing in f32.
fn log_decay_of(row: u32, i: u32) -> f32 {
    return max(g[params.g_start + row * DECAYS + min(i, DECAYS - 1)], -100.0);
}
