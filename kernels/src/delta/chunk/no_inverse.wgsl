fn keep_inverse(row: u32, tokens: u32, lane: u32) {}
