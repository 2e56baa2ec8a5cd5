fn plain_key(row: u32, i: u32) -> vec4f {
    return query_vector(row, i);
}

fn key_factor(key: Key) -> f32 {
    return 1.0;
}
