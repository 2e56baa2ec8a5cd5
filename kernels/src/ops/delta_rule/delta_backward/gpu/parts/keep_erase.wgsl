fn erased(row: u32, i: u32, by: f32) {}
