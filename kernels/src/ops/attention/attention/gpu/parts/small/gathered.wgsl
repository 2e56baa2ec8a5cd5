// All small vectors in one binding, for devices whose binding limit does not allow one each.

@group(0) @binding(GATHERED_BINDING) var<storage, read> gathered: array<u32>;

fn cu_q_at(i: u32) -> u32 {
    return gathered[params.cu_q_start + i];
}

fn cu_k_at(i: u32) -> u32 {
    return gathered[params.cu_k_start + i];
}

fn lengths_at(i: u32) -> u32 {
    return gathered[params.lengths_start + i];
}

fn sinks_at(i: u32) -> f32 {
    return bitcast<f32>(gathered[params.sinks_start + i]);
}

fn alibi_at(i: u32) -> f32 {
    return bitcast<f32>(gathered[params.alibi_start + i]);
}
