use super::{Threads, run};
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::selected_attention::{Combine, Keys, Spec};
use foveate_kernels::testing::u32_bytes;

/// Routing 3 on every unit: how a list is multiplied does not depend on who comes into it later, to the bit.
#[test]
fn cpu_lists_do_not_see_what_follows() {
    let (tokens, width) = (300, 3 * 40);
    for (host, save) in Threads::all().into_iter().flat_map(|host| [(host, false), (host, true)]) {
        let spec = Spec::new(1, tokens, 3, 40, 1, tokens)
            .with_keys(Keys::Shared { normalize: true })
            .with_scale(0.2)
            .with_combine(Combine::Mean { eps: 0.0 })
            .with_save(save);
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
