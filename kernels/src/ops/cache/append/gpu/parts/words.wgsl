// Rows of f32, loaded as bits (`Element` is u32), that are encoded to words of the pool.

@group(0) @binding(1) var<storage, read> k: array<Element>;
@group(0) @binding(2) var<storage, read_write> k_pool: array<u32>;

fn element(values: bool, token: u32, n: u32) -> u32 {
    if values {
        return value(token, n);
    }
    return key(token, n);
}

fn store(values: bool, at: u32, word: u32) {
    if values {
        store_value(at, word);
    } else {
        k_pool[at] = word;
    }
}

// Rounds an f32 to the nearest f16, ties to even. WGSL leaves the rounding of pack2x16float to the device.
fn half_bits(bits: u32) -> u32 {
    let sign = (bits >> 16) & 0x8000;
    let size = bits & 0x7fffffff;
    if size > 0x7f800000 {
        return sign | 0x7e00;
    }
    if size >= 0x47800000 {
        return sign | 0x7c00;
    }
    if size >= 0x38800000 {
        return sign | ((size + 0xfff + ((size >> 13) & 1) - 0x38000000) >> 13);
    }
    // Subnormal f16: a multiple of 2^-24.
    let shift = min(126 - (size >> 23), 31);
    let mantissa = (size & 0x7fffff) | 0x800000;
    let rounded = (mantissa + (1u << (shift - 1)) - 1 + ((mantissa >> shift) & 1)) >> shift;
    return sign | select(rounded, 0, shift > 24);
}
