fn store_bias(c: u32, value: f32) {}
