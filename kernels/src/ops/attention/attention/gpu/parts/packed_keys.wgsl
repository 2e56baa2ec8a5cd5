// The row of key `key` of sequence `b`, in k and in v: below k_rows for keys below `keys_of`, whatever the offsets say.
fn key_row(b: u32, key: u32) -> u32 {
    return cu_k_at(b) + key;
}

fn keys_of(b: u32) -> u32 {
    let first = min(cu_k_at(b), params.k_rows);
    let end = clamp(cu_k_at(b + 1), first, params.k_rows);
    return min(end - first, params.keys);
}
