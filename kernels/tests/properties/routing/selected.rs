//! What members attend to.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Routing 1.
    #[test]
    fn selected_attention_of_one_list_is_full_attention(tokens in 1u32..150, causal: bool, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (mut x, centroids, v) = (rng.normals(n, 1.0), rng.normals(8, 1.0), rng.normals(n, 1.0));
        for row in x.chunks_exact_mut(8) {
            let mean = row.iter().sum::<f32>() / 8.0;
            let var = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 8.0;
            row.iter_mut().for_each(|x| *x = (*x - mean) / (var + route::EPS).sqrt());
        }
        let full = attention::Spec::causal(1, tokens, tokens, 1, 1, 8).with_scale(0.35).with_causal(causal);
        let want = floats(&outputs(Form::Reference, full, &[bytes(&x), bytes(&x), bytes(&v)])[0]);
        let route = spec(tokens, 1, tokens + 3, Selection::Balanced);
        let Lists([members, ranges, _]) = Lists::of(Form::Cpu, route, &x, &centroids);
        for combine in [Combine::Mean { eps: 0.0 }, Combine::Weighted] {
            let spec = attending(&route).with_causal(causal).with_combine(combine);
            let inputs = [bytes(&x), bytes(&v), u32_bytes(&members), u32_bytes(&ranges)];
            FORMS.iter().for_each(|&form| assert_close(&floats(&outputs(form, spec, &inputs)[0]), &want, 1e-5));
        }
    }

    /// Routing 3.
    #[test]
    fn selected_attention_after_a_causal_route_does_not_see_what_follows(
        tokens in 2u32..80, clusters in 1u32..6, window in 1u32..20, seed: u64,
    ) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(n, 1.0), rng.normals(8 * clusters as usize, 1.0), rng.normals(n, 1.0));
        let kept = 8 * rng.below(tokens) as usize;
        let mut other = (x.clone(), v.clone());
        other.0[kept..].iter_mut().for_each(|x| *x = rng.normal());
        other.1[kept..].iter_mut().for_each(|x| *x = rng.normal());
        for selection in CAUSAL {
            let spec = spec(tokens, clusters, window, selection);
            let outs = [(&x, &v), (&other.0, &other.1)].map(|(x, v)| attend(Form::Cpu, spec, x, &centroids, v));
            prop_assert_eq!(&outs[0][..kept], &outs[1][..kept]);
        }
    }

    /// Routing 6, of tokens in none.
    #[test]
    fn selected_attention_gives_0_to_tokens_in_no_list(tokens in 8u32..80, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(n, 1.0), rng.normals(16, 1.0), rng.normals(n, 1.0));
        let spec = spec(tokens, 2, 3, Selection::Balanced);
        let lists = Lists::of(Form::Cpu, spec, &x, &centroids);
        let out = attend(Form::Cpu, spec, &x, &centroids, &v);
        for t in 0..tokens {
            let taken = (0..2).any(|c| lists.list(c).iter().any(|m| m.0 == t));
            prop_assert_eq!(taken, out[8 * t as usize..][..8].iter().any(|x| *x != 0.0));
        }
    }

    /// Routing 6, of tokens in several.
    #[test]
    fn selected_attention_of_several_lists_is_the_mean_over_them(tokens in 1u32..60, window in 1u32..20, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(n, 1.0), rng.normals(24, 1.0), rng.normals(n, 1.0));
        let route = spec(tokens, 3, window, Selection::Balanced);
        let Lists([members, ranges, _]) = Lists::of(Form::Cpu, route, &x, &centroids);
        let inputs = [bytes(&x), bytes(&v), u32_bytes(&members), u32_bytes(&ranges)];
        for form in FORMS {
            let saved = outputs(form, attending(&route).with_save(true), &inputs);
            let (saved_out, blocks) = (floats(&saved[0]), floats(&saved[1]));
            // With blocks that are stored and without.
            let out = floats(&outputs(form, attending(&route), &inputs)[0]);
            prop_assert_eq!(&out, &saved_out);
            for (t, out) in out.chunks_exact(8).enumerate() {
                let own: Vec<_> = (0..members.len()).filter(|&place| members[place] == t as u32).collect();
                let mean = |d: usize| own.iter().map(|p| blocks[8 * p + d]).sum::<f32>() / own.len().max(1) as f32;
                assert_close(out, &(0..8).map(mean).collect::<Vec<_>>(), 1e-6);
            }
        }
    }

    /// Routing 4.
    #[test]
    fn selected_attention_is_the_same_of_permuted_centroids_and_of_one_twice(
        tokens in 2u32..60, window in 1u32..20, seed: u64,
    ) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(n, 1.0), rng.normals(24, 1.0), rng.normals(n, 1.0));
        let turned: Vec<f32> = centroids.chunks(8).rev().flatten().copied().collect();
        let twice = centroids.repeat(2);
        for selection in [Selection::Balanced, Selection::Prefix] {
            let want = attend(Form::Cpu, spec(tokens, 3, window, selection), &x, &centroids, &v);
            assert_close(&attend(Form::Cpu, spec(tokens, 3, window, selection), &x, &turned, &v), &want, 1e-5);
            // The mean over memberships that come twice is that over them once.
            assert_close(&attend(Form::Cpu, spec(tokens, 6, window, selection), &x, &twice, &v), &want, 1e-5);
        }
    }

    /// Routing 12.
    #[test]
    fn selected_attention_of_a_sequence_does_not_know_the_others(tokens in 1u32..50, window in 1u32..12, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(3 * n, 1.0), rng.normals(24, 1.0), rng.normals(3 * n, 1.0));
        for selection in SELECTIONS {
            let one = spec(tokens, 3, window, selection);
            let all = attend(Form::Cpu, one.with_batch(3), &x, &centroids, &v);
            for b in 0..3 {
                let part = b * n..(b + 1) * n;
                let own = attend(Form::Cpu, one, &x[part.clone()], &centroids, &v[part.clone()]);
                prop_assert_eq!(&all[part], &own[..]);
            }
        }
    }

    #[test]
    fn selected_attention_backward_is_the_slope_of_the_loss(seed: u64, weighted: bool, kind in 0usize..3) {
        let mut rng = Rng::new(seed);
        let keys = [Keys::Shared { normalize: true }, Keys::Shared { normalize: false }, Keys::Separate { tokens: 9, entries: 14 }];
        let own = [Own::Included, Own::LastResort(-5e4), Own::Excluded];
        let forward = selected_attention::Spec::new(2, 11, 2, 5, 3, 15)
            .with_value_dim(3)
            .with_keys(keys[kind])
            .with_scale(0.4)
            .with_own(own[kind])
            .with_memory(if kind == 2 { 2 } else { 0 })
            .with_combine(if weighted { Combine::Weighted } else { Combine::Mean { eps: 0.5 } })
            .with_save(true);
        let given = Kernel::inputs(&forward, &mut rng);
        let args = forward.args();
        let given: Vec<Vec<u8>> = given.into_iter().zip(&args).filter(|(_, a)| a.access == Access::Read).map(|(b, _)| b).collect();
        let saved = outputs(Form::Reference, forward, &given);
        let dout = rng.normals(saved[0].len() / 4, 1.0);
        let loss = |inputs: &[Vec<u8>]| -> f64 {
            let out = floats(&outputs(Form::Reference, forward, inputs)[0]);
            out.iter().zip(&dout).map(|(o, d)| f64::from(*o) * f64::from(*d)).sum()
        };
        let all: Vec<Vec<u8>> = given.iter().chain(&saved).cloned().chain([bytes(&dout)]).collect();
        let backward = selected_attention_backward::Spec::new(forward);
        let gradients = outputs(Form::Cpu, backward, &all);
        for (name, gradient) in backward.args()[all.len()..].iter().map(|a| a.name).zip(&gradients) {
            let of = args.iter().position(|a| name[1..] == *a.name).expect("a gradient of an input");
            let gradient = floats(gradient);
            let (direction, step) = (rng.normals(gradient.len(), 1.0), 2e-3);
            let moved = |step: f32| {
                let mut inputs = given.clone();
                let values: Vec<f32> = floats(&inputs[of]).iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                inputs[of] = bytes(&values);
                loss(&inputs)
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let want: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            prop_assert!((slope - want).abs() <= 2e-2 * (1.0 + want.abs()), "{}: {} and {}", name, slope, want);
        }
    }
}

/// Routing 1, with the eps of Google's code.
#[test]
fn selected_attention_of_one_list_with_an_eps_is_that_much_less() {
    let mut rng = Rng::new(2);
    let (x, centroids, v) = (rng.normals(80, 1.0), rng.normals(8, 1.0), rng.normals(80, 1.0));
    let route = spec(10, 1, 10, Selection::Balanced);
    let Lists([members, ranges, _]) = Lists::of(Form::Cpu, route, &x, &centroids);
    let inputs = [bytes(&x), bytes(&v), u32_bytes(&members), u32_bytes(&ranges)];
    let [want, out] = [0.0, 1e-2].map(|eps| {
        let spec = attending(&route).with_combine(Combine::Mean { eps });
        floats(&outputs(Form::Cpu, spec, &inputs)[0])
    });
    assert_close(&out, &want.iter().map(|x| x / 1.01).collect::<Vec<_>>(), 1e-6);
}

/// Routing 11.
#[test]
fn selected_attention_of_sqrt_lists_grows_as_the_power_of_three_halves() {
    let pairs = |root: u32| {
        let route = spec(root * root, root, root, Selection::Balanced);
        attending(&route).flop() as f64
    };
    for root in [16, 32, 64, 128] {
        let exponent = (pairs(2 * root) / pairs(root)).log2() / 2.0;
        assert!((exponent - 1.5).abs() < 0.01, "{exponent} at {root}");
    }
}
