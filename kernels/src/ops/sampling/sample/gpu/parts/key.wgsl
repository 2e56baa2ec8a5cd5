// The key of a token: a u32 that orders as the number does. A mask, -infinity, has the key 0, which stands for no token; NaN
// and +infinity have keys above that of the largest number. WGSL lets a compiler assume that no number is infinite or NaN, so
// these are told apart by their bits.

const INFINITE = 0x7f800000u;
const SIGN = 0x80000000u;

fn key_of(i: u32) -> u32 {
    let z = penalised(i, logits[params.logits_start + i]);
    if (z & ~SIGN) >= INFINITE {
        return select(0xffffffffu, 0u, z == (SIGN | INFINITE));
    }
    return select(z | SIGN, ~z, (z & SIGN) != 0);
}
