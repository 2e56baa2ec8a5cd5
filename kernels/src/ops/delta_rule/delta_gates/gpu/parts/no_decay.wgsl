fn decay(row: u32, head: u32) {}
