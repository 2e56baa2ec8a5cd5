fn store_lse(row: u32, value: f32) {}
