// What the state holds is replaced along the key.

fn update_of(written: f32, held: f32) -> f32 {
    return written - held;
}

fn along_of(row: u32, i: u32, held: f32, value: f32) -> f32 {
    return value;
}
