use super::{FORMS, Form, assert_close, bytes, floats, run, run_in_place};
use foveate_kernels::dtype::DType;
use foveate_kernels::expert_choice::Scores;
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::{u32_bytes, weights};
use foveate_kernels::{clamped_swiglu, expert_choice, expert_linear, expert_sum, linear};
use proptest::prelude::*;

/// Ids and weights of a choice.
fn choice(form: Form, spec: expert_choice::Spec, logits: &[f32], correction: Option<&[f32]>) -> (Vec<u32>, Vec<f32>) {
    let op = Op::from(spec.with_bias(correction.is_some()));
    let mut memory = vec![bytes(logits)];
    memory.extend(correction.map(bytes));
    memory.extend([(); 2].map(|()| vec![0xff; (spec.tokens * spec.chosen) as usize * 4]));
    run_in_place(form, &op, &mut memory);
    let [ids, weights] = &memory[memory.len() - 2..] else { unreachable!("two outputs") };
    (bytemuck::pod_collect_to_vec(ids), floats(weights))
}

/// The mixture of `ids`, weighted.
fn mixture(form: Form, spec: expert_linear::Spec, x: &[f32], ids: &[u32], weight: &[u8], weights: &[f32]) -> Vec<f32> {
    let pairs = (spec.tokens * spec.chosen * spec.outputs) as usize;
    let y = run(form, spec, &[bytes(x), u32_bytes(ids), weight.to_vec()], pairs);
    let sum = expert_sum::Spec::new(spec.tokens, spec.chosen, spec.outputs);
    run(form, sum, &[bytes(&y), bytes(weights)], (spec.tokens * spec.outputs) as usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn expert_linear_of_one_expert_is_a_dense_product(seed: u64, tokens in 1u32..70, outputs in 1u32..20) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            for format in DType::WEIGHTS {
                let inputs = 64u32.next_multiple_of(format.block_len());
                let x = rng.normals((tokens * inputs) as usize, 1.0);
                let weight = weights(format, (inputs * outputs) as usize, &mut rng);
                let logits = rng.normals(tokens as usize, 3.0);
                let spec = expert_choice::Spec::new(tokens, 1, 1).with_normalize(true);
                let (ids, factors) = choice(form, spec, &logits, None);
                let spec = expert_linear::Spec::new(tokens, [1, 1], inputs, outputs, format);
                let got = mixture(form, spec, &x, &ids, &weight, &factors);
                let dense = linear::Spec::new(tokens, inputs, outputs, format);
                assert_close(&got, &run(form, dense, &[bytes(&x), weight], got.len()), 1e-6);
            }
        }
    }

    #[test]
    fn expert_choice_does_not_depend_on_the_order_of_experts(seed: u64, tokens in 1u32..40, experts in 2u32..9, sigmoid: bool) {
        let (mut rng, inputs, outputs) = (Rng::new(seed), 32u32, 11u32);
        let chosen = experts.min(3);
        let scores = if sigmoid { Scores::Sigmoid } else { Scores::Softmax };
        let spec = expert_choice::Spec::new(tokens, experts, chosen).with_scores(scores).with_normalize(true);
        let (logits, correction) = (rng.normals((tokens * experts) as usize, 1.0), rng.normals(experts as usize, 0.3));
        let x = rng.normals((tokens * inputs) as usize, 1.0);
        let weight = rng.normals((experts * outputs * inputs) as usize, 1.0);
        let shift = 1 + rng.below(experts - 1);
        // Expert e stands at the place e + shift.
        let moved = |values: &[f32], rows: usize, each: usize| -> Vec<f32> {
            let mut out = values.to_vec();
            for row in 0..rows {
                out[row * each * experts as usize..][..each * experts as usize].rotate_right(shift as usize * each);
            }
            out
        };
        for form in FORMS {
            let (ids, factors) = choice(form, spec, &logits, Some(&correction));
            let (other, same) = choice(form, spec, &moved(&logits, tokens as usize, 1), Some(&moved(&correction, 1, 1)));
            let back: Vec<u32> = other.iter().map(|id| (id + experts - shift) % experts).collect();
            prop_assert_eq!(&back, &ids);
            assert_close(&same, &factors, 1e-6);
            let linear = expert_linear::Spec::new(tokens, [experts, chosen], inputs, outputs, DType::F32);
            let got = mixture(form, linear, &x, &other, &bytes(&moved(&weight, 1, (outputs * inputs) as usize)), &same);
            assert_close(&got, &mixture(form, linear, &x, &ids, &bytes(&weight), &factors), 1e-5);
        }
    }

    #[test]
    fn expert_sum_of_all_experts_is_a_dense_mixture(seed: u64, tokens in 1u32..9, experts in 1u32..6) {
        let (mut rng, inputs, outputs) = (Rng::new(seed), 32u32, 7u32);
        let logits = rng.normals((tokens * experts) as usize, 1.0);
        let x = rng.normals((tokens * inputs) as usize, 1.0);
        let weight = rng.normals((experts * outputs * inputs) as usize, 1.0);
        for form in FORMS {
            let spec = expert_choice::Spec::new(tokens, experts, experts).with_normalize(true);
            let (ids, factors) = choice(form, spec, &logits, None);
            let linear = expert_linear::Spec::new(tokens, [experts, experts], inputs, outputs, DType::F32);
            let got = mixture(form, linear, &x, &ids, &bytes(&weight), &factors);
            let mut want = vec![0.0; got.len()];
            for (t, logits) in logits.chunks(experts as usize).enumerate() {
                let sum: f32 = logits.iter().map(|l| l.exp()).sum();
                for (e, logit) in logits.iter().enumerate() {
                    for n in 0..outputs as usize {
                        let row = &weight[(e * outputs as usize + n) * inputs as usize..][..inputs as usize];
                        let dot: f32 = row.iter().zip(&x[t * inputs as usize..]).map(|(w, x)| w * x).sum();
                        want[t * outputs as usize + n] += logit.exp() / sum * dot;
                    }
                }
            }
            assert_close(&got, &want, 1e-4);
        }
    }

    /// Of all scores that choose the same experts, the weights are the same.
    #[test]
    fn expert_choice_takes_corrections_for_the_choice_alone(seed: u64, tokens in 1u32..9, forced in 0u32..8) {
        let mut rng = Rng::new(seed);
        let logits = rng.normals((tokens * 8) as usize, 1.0);
        let mut correction = [0.0; 8];
        correction[forced as usize] = 1e3;
        for scores in [Scores::Softmax, Scores::Sigmoid] {
            for form in FORMS {
                let spec = expert_choice::Spec::new(tokens, 8, 2).with_scores(scores);
                let (ids, weights) = choice(form, spec, &logits, Some(&correction));
                // Without the correction and with every expert chosen, each has its own score.
                let (all, own) = choice(form, spec.with_chosen(8), &logits, None);
                for (t, (ids, weights)) in ids.chunks(2).zip(weights.chunks(2)).enumerate() {
                    prop_assert_eq!(ids[0], forced);
                    for (id, weight) in ids.iter().zip(weights) {
                        let at = all[t * 8..][..8].iter().position(|other| other == id).expect("every expert");
                        prop_assert!((weight - own[t * 8 + at]).abs() <= 1e-6);
                    }
                }
            }
        }
    }

    #[test]
    fn expert_choice_is_among_the_groups_that_are_kept(seed: u64, tokens in 1u32..9, group_best in 1u32..3, kept in 1u32..4) {
        let logits = Rng::new(seed).normals((tokens * 12) as usize, 1.0);
        for form in FORMS {
            let spec = expert_choice::Spec::new(tokens, 12, 3)
                .with_scores(Scores::Sigmoid)
                .with_groups(4)
                .with_kept(kept)
                .with_group_best(group_best);
            let (ids, _) = choice(form, spec, &logits, None);
            for (ids, logits) in ids.chunks(3).zip(logits.chunks(12)) {
                let score = |g: &usize| {
                    let mut of: Vec<f32> = logits[3 * g..3 * g + 3].iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect();
                    of.sort_by(|a, b| b.total_cmp(a));
                    of[..group_best as usize].iter().sum::<f32>()
                };
                let mut groups: Vec<usize> = (0..4).collect();
                groups.sort_by(|a, b| score(b).total_cmp(&score(a)));
                prop_assert!(ids.iter().all(|id| groups[..kept as usize].contains(&(*id as usize / 3))));
            }
        }
    }

    #[test]
    fn expert_sum_of_equal_rows_is_the_row(seed: u64, chosen in 1u32..6, dim in 1u32..50) {
        let mut rng = Rng::new(seed);
        let row = rng.normals(dim as usize, 1.0);
        let rows = row.repeat(chosen as usize);
        for form in FORMS {
            let spec = expert_sum::Spec::new(1, chosen, dim);
            let equal = vec![1.0 / chosen as f32; chosen as usize];
            assert_close(&run(form, spec, &[bytes(&rows), bytes(&equal)], row.len()), &row, 1e-6);
            // The sigmoid of 0 is a half.
            let spec = spec.with_weighing(expert_sum::Weighing::Sigmoid);
            let half: Vec<f32> = row.iter().map(|x| x * chosen as f32 / 2.0).collect();
            let zeros = vec![0.0; chosen as usize];
            assert_close(&run(form, spec, &[bytes(&rows), bytes(&zeros)], row.len()), &half, 1e-6);
        }
    }

    #[test]
    fn expert_sum_of_several_sums_is_each_of_them(seed: u64, tokens in 1u32..5, chosen in 1u32..5, sums in 1u32..5, dim in 1u32..40) {
        let mut rng = Rng::new(seed);
        let y = rng.normals((tokens * chosen * dim) as usize, 1.0);
        let weights = rng.normals((tokens * sums * chosen) as usize, 1.0);
        for form in FORMS {
            let one = expert_sum::Spec::new(tokens, chosen, dim);
            let all = run(form, one.with_sums(sums), &[bytes(&y), bytes(&weights)], (tokens * sums * dim) as usize);
            for s in 0..sums as usize {
                let own = weights.chunks(chosen as usize).skip(s).step_by(sums as usize).flatten().copied();
                let own: Vec<f32> = own.collect();
                let wanted = run(form, one, &[bytes(&y), bytes(&own)], (tokens * dim) as usize);
                let got: Vec<f32> =
                    all.chunks(dim as usize).skip(s).step_by(sums as usize).flatten().copied().collect();
                assert_close(&got, &wanted, 1e-6);
            }
        }
    }

    #[test]
    fn clamped_swiglu_is_constant_past_its_limit(seed: u64, dim in 1u32..40, limit in 0.5f32..8.0) {
        let mut rng = Rng::new(seed);
        let inside: Vec<f32> = rng.normals(2 * dim as usize, 1.0).iter().map(|x| x.clamp(-limit, limit)).collect();
        let beyond: Vec<f32> = inside.iter().map(|x| if *x == limit { limit + 5.0 } else { *x }).collect();
        for form in FORMS {
            let spec = clamped_swiglu::Spec::new(1, dim).with_alpha(1.702).with_limit(limit);
            let apply = |x: &[f32]| run(form, spec, &[bytes(x)], dim as usize);
            prop_assert_eq!(apply(&inside), apply(&beyond));
            let values = inside.iter().zip(&inside[dim as usize..]);
            let want: Vec<f32> = values.map(|(g, u)| (u + 1.0) * g / (1.0 + (-1.702 * g).exp())).collect();
            assert_close(&apply(&inside), &want, 1e-5);
        }
    }
}
