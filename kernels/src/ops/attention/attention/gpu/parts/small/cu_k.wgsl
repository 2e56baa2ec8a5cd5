@group(0) @binding(CU_K_BINDING) var<storage, read> cu_k: array<u32>;

fn cu_k_at(i: u32) -> u32 {
    return cu_k[params.cu_k_start + i];
}
