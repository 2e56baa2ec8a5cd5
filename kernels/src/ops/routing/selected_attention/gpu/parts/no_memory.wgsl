fn key_vector(key: Key, i: u32) -> vec4f {
    return plain_key(key.row, i);
}

fn value_vector(key: Key, i: u32) -> vec4f {
    return plain_value(key.row, i);
}
