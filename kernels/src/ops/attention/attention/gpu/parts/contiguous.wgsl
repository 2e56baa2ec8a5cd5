// Returns the row of key `key` of sequence `b`, in k and in v.
fn key_row(b: u32, key: u32) -> u32 {
    return b * params.keys + key;
}

fn keys_of(b: u32) -> u32 {
    return params.keys;
}
