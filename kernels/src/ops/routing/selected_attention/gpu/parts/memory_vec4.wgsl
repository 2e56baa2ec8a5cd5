@group(0) @binding(MEMORY_K_BINDING) var<storage, read> memory_k: array<vec4f>;
@group(0) @binding(MEMORY_V_BINDING) var<storage, read> memory_v: array<vec4f>;

fn key_vector(key: Key, i: u32) -> vec4f {
    if key.token == SLOT {
        return memory_k[params.memory_k_start + key.row * D4 + i];
    }
    return plain_key(key.row, i);
}

fn value_vector(key: Key, i: u32) -> vec4f {
    if key.token == SLOT {
        return memory_v[params.memory_v_start + key.row * V4 + i];
    }
    return plain_value(key.row, i);
}
