// Returns the row of key `key` of sequence `b`, in k and in v. For
// keys below `keys_of` the row is below k_rows, for any offsets.
fn key_row(b: u32, key: u32) -> u32 {
    return cu_k_at(b) + key;
}

fn keys_of(b: u32) -> u32 {
    let first = min(cu_k_at(b), params.k_rows);
    let end = clamp(cu_k_at(b + 1), first, params.k_rows);
    return min(end - first, params.keys);
}
