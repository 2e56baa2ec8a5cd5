@group(0) @binding(CU_Q_BINDING) var<storage, read> cu_q: array<u32>;

fn cu_q_at(i: u32) -> u32 {
    return cu_q[params.cu_q_start + i];
}
