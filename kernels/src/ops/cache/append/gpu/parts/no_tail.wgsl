// Entry `n` of a token's keys: as they stand.

fn key(token: u32, n: u32) -> Element {
    return k[params.k_start + token * params.k_stride + n];
}
