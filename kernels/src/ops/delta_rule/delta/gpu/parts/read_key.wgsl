// Keys are read, of the state before its decay.
fn read_of(row: u32, i: u32, key: f32, decay: f32) -> f32 {
    return decay * (erase_of(row, i) * key);
}
