//! The target `ops` on bytes from a generator: a start for those without a fuzzer.

use foveate_core::kernels::rng::Rng;

#[test]
fn ops_hold_on_random_bytes() {
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let bytes: Vec<u8> = (0..400).map(|_| rng.next_u64() as u8).collect();
        foveate_fuzz::ops(&bytes);
    }
}
