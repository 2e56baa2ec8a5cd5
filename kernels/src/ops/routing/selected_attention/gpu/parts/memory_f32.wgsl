@group(0) @binding(MEMORY_K_BINDING) var<storage, read> memory_k: array<f32>;
@group(0) @binding(MEMORY_V_BINDING) var<storage, read> memory_v: array<f32>;

fn key_vector(key: Key, i: u32) -> vec4f {
    if key.token == SLOT {
        let at = four(params.memory_k_start + key.row * D, i, D);
        return select(vec4f(), vec4f(memory_k[at.x], memory_k[at.y], memory_k[at.z], memory_k[at.w]), inside(i, D));
    }
    return plain_key(key.row, i);
}

fn value_vector(key: Key, i: u32) -> vec4f {
    if key.token == SLOT {
        let at = four(params.memory_v_start + key.row * V, i, V);
        return select(vec4f(), vec4f(memory_v[at.x], memory_v[at.y], memory_v[at.z], memory_v[at.w]), inside(i, V));
    }
    return plain_value(key.row, i);
}
