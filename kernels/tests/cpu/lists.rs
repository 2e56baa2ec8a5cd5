use super::{Threads, run};
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::selected_attention::{Combine, Keys, Own, Spec};
use foveate_kernels::testing::u32_bytes;

/// Routing 3 on every unit: how a list is multiplied does not depend on who comes into it later, to the bit.
#[test]
fn cpu_lists_do_not_see_what_follows() {
    let (tokens, width) = (300, 3 * 40);
    for (host, save) in Threads::all().into_iter().flat_map(|host| [(host, false), (host, true)]) {
        let spec = Spec {
            batch: 1,
            tokens,
            heads: 3,
            dim: 40,
            value_dim: 40,
            clusters: 1,
            entries: tokens,
            keys: Keys::Shared { normalize: true },
            scale: 0.2,
            causal: true,
            expires: false,
            offset: false,
            paged: None,
            own: Own::Included,
            memory: 0,
            combine: Combine::Mean { eps: 0.0 },
            save,
        };
        let op = Op::from(spec);
        let args = op.kernel().args();
        let out = |inputs: &[Vec<u8>]| run(&args, inputs, &|args| op.kernel().cpu(&host, args)).swap_remove(4);
        let mut inputs = op.kernel().inputs(&mut Rng::new(7));
        inputs[2] = u32_bytes(&(0..tokens).collect::<Vec<_>>().repeat(3));
        inputs[3] = u32_bytes(&[0, tokens].repeat(3));
        let whole = out(&inputs);
        for kept in [1, 7, 9, 100, 129, 290] {
            inputs[3] = u32_bytes(&[0, kept].repeat(3));
            let part = kept as usize * width;
            assert_eq!(out(&inputs)[..part], whole[..part], "{kept} on {host:?}");
        }
    }
}
