fn bias_row(b: u32, h: u32, t: u32) -> u32 {
    return 0;
}

fn biased(z: f32, row: u32, key: u32) -> f32 {
    return z;
}
