// Key of a token: a u32 that orders as the logit does, at least 0x00800000. Smaller keys denote no token.

const LARGEST = 0x7f7fffffu;
const SIGN = 0x80000000u;

// Clamps the bits of `z` to finite numbers: infinities become the largest ones, NaN the smallest.
fn finite(z: u32) -> u32 {
    let size = z & 0x7fffffff;
    if size > 0x7f800000 {
        return SIGN | LARGEST;
    }
    return (z & SIGN) | min(size, LARGEST);
}

fn key_of(i: u32) -> u32 {
    let z = penalised(i, finite(logits[params.logits_start + i]));
    return select(z | SIGN, ~z, (z & SIGN) != 0);
}
