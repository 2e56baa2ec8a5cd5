// Packed sequences whose tokens are two rows each.
@group(0) @binding(CU_BINDING) var<storage, read> cu: array<u32>;

fn tokens_of(n: u32) -> vec2u {
    let first = min(cu[params.cu_start + n], params.tokens / 2);
    return 2 * vec2u(first, clamp(cu[params.cu_start + n + 1], first, params.tokens / 2));
}

fn batch_of(n: u32) -> u32 {
    return 0;
}
