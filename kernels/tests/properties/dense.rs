use super::{FORMS, assert_close, bytes, floats, run, run_in_place};
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::{u32_bytes, weights};
use foveate_kernels::{activation, add, append, embed, fused_linear, linear, norm, quant};
use proptest::prelude::*;

fn decoded(format: DType, stored: &[u8], elements: usize) -> Vec<f32> {
    let mut out = vec![0.0; elements];
    quant::decode(format, stored, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn add_of_a_negated_sum_is_zero(seed: u64, rows in 0u32..5, dim in 0u32..300) {
        let elements = (rows * dim) as usize;
        let x = Rng::new(seed).normals(elements, 1.0);
        for form in FORMS {
            let spec = add::Spec::new(rows, dim);
            let add = |x: &[f32], y: &[f32]| {
                let mut memory = [bytes(x), bytes(y)];
                run_in_place(form, &spec.into(), &mut memory);
                floats(&memory[1])
            };
            let sum = add(&x, &x);
            prop_assert!(sum.iter().zip(&x).all(|(sum, x)| *sum == 2.0 * x));
            let negated: Vec<f32> = sum.iter().map(|sum| -sum).collect();
            prop_assert!(add(&negated, &sum).iter().all(|zero| *zero == 0.0));
        }
    }

    #[test]
    fn linear_is_linear_in_its_input(seed: u64, tokens in 1u32..6, outputs in 1u32..20, a in -2f32..2.0, b in -2f32..2.0) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            for format in DType::WEIGHTS {
                let inputs = 64u32.next_multiple_of(format.block_len());
                let spec = linear::Spec::new(tokens, inputs, outputs, format);
                let weight = weights(format, (inputs * outputs) as usize, &mut rng);
                let (x, z) = (rng.normals((tokens * inputs) as usize, 1.0), rng.normals((tokens * inputs) as usize, 1.0));
                let mixed: Vec<f32> = x.iter().zip(&z).map(|(x, z)| a * x + b * z).collect();
                let apply = |x: &[f32]| run(form, spec, &[bytes(x), weight.clone()], (tokens * outputs) as usize);
                let sum: Vec<f32> = apply(&x).iter().zip(apply(&z)).map(|(x, z)| a * x + b * z).collect();
                // Up to 256 products of about 6 by 3 each.
                assert_close(&apply(&mixed), &sum, 1e-3);
            }
        }
    }

    #[test]
    fn linear_over_stored_weights_is_linear_over_their_values(seed: u64, tokens in 1u32..9, outputs in 1u32..40) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            for format in DType::WEIGHTS {
                let inputs = 96u32.next_multiple_of(format.block_len());
                let stored = weights(format, (inputs * outputs) as usize, &mut rng);
                let values = decoded(format, &stored, (inputs * outputs) as usize);
                let x = bytes(&rng.normals((tokens * inputs) as usize, 1.0));
                let len = (tokens * outputs) as usize;
                let got = run(form, linear::Spec::new(tokens, inputs, outputs, format), &[x.clone(), stored], len);
                let want = run(form, linear::Spec::new(tokens, inputs, outputs, DType::F32), &[x, bytes(&values)], len);
                assert_close(&got, &want, 2e-4);
            }
        }
    }

    #[test]
    fn linear_leaves_the_gaps_of_its_output(seed: u64, tokens in 1u32..9, outputs in 1u32..20, gap in 0u32..5) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let spec = linear::Spec::new(tokens, 32, outputs, DType::Q8_0).with_y_stride(outputs + gap);
            let op = Op::from(spec);
            let mut memory = op.kernel().inputs(&mut rng);
            run_in_place(form, &op, &mut memory);
            for (i, y) in floats(&memory[2]).iter().enumerate() {
                prop_assert_eq!(y.is_nan(), i as u32 % (outputs + gap) >= outputs);
            }
        }
    }

    #[test]
    fn fused_linear_is_its_ops_one_after_the_other(seed: u64, tokens in 1u32..5, outputs in 1u32..20, gated: bool) {
        let (eps, kind, mut rng) = (1e-5, activation::Kind::Silu, Rng::new(seed));
        let rows = outputs * if gated { 2 } else { 1 };
        for form in FORMS {
            for format in DType::WEIGHTS {
                let inputs = 64u32.next_multiple_of(format.block_len());
                let (x, g) = (rng.normals((tokens * inputs) as usize, 3.0), rng.normals(inputs as usize, 1.0));
                let (weight, y) = (weights(format, (inputs * rows) as usize, &mut rng), rng.normals((tokens * outputs) as usize, 1.0));
                let normed = run(form, norm::Spec::rms(tokens, inputs, eps), &[bytes(&x), bytes(&g)], x.len());
                let product = linear::Spec::new(tokens, inputs, rows, format);
                let products = run(form, product, &[bytes(&normed), weight.clone()], (tokens * rows) as usize);
                let activation = activation::Spec::new(tokens, outputs, kind).with_gated(gated).with_stride(rows);
                let branch = run(form, activation, &[bytes(&products)], y.len());
                let want: Vec<f32> = branch.iter().zip(&y).map(|(branch, y)| branch + y).collect();
                let spec = fused_linear::Spec::new(tokens, inputs, outputs, format)
                    .with_norm(Some(fused_linear::Norm { eps, one_plus: false }))
                    .with_activation(Some(fused_linear::Activation { kind, gated }))
                    .with_residual(true);
                let mut memory = [bytes(&x), weight, bytes(&g), bytes(&y)];
                run_in_place(form, &Op::from(spec), &mut memory);
                assert_close(&floats(&memory[3]), &want, 2e-4);
            }
        }
    }

    #[test]
    fn embed_is_the_rows_of_the_table(seed: u64, vocab in 1u32..30, tokens in 0u32..20) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            for format in DType::WEIGHTS {
                let dim = 64u32.next_multiple_of(format.block_len());
                let stored = weights(format, (vocab * dim) as usize, &mut rng);
                let values = decoded(format, &stored, (vocab * dim) as usize);
                let ids: Vec<u32> = (0..tokens).map(|_| rng.below(vocab + 1)).collect();
                let spec = embed::Spec::new(tokens, vocab, dim, format);
                let out = run(form, spec, &[u32_bytes(&ids), stored], (tokens * dim) as usize);
                for (row, id) in out.chunks(dim as usize).zip(&ids) {
                    match values.chunks(dim as usize).nth(*id as usize) {
                        Some(want) => prop_assert_eq!(row, want),
                        None => prop_assert!(row.iter().all(|x| *x == 0.0)),
                    }
                }
            }
        }
    }

    #[test]
    fn append_writes_the_named_rows_and_no_other(seed: u64, tokens in 0u32..10, pool in 1u32..20) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let format = DType::F32;
            let spec = append::Spec::new(tokens, pool, 5, 3, format).with_k_stride(9).with_v_stride(8);
            let op = Op::from(spec);
            let mut memory = op.kernel().inputs(&mut rng);
            let before = memory.clone();
            run_in_place(form, &op, &mut memory);
            let slots: Vec<u32> = bytemuck::pod_collect_to_vec(&before[0]);
            for (from, to, width, stride) in [(1, 3, 5, 9), (2, 4, 3, 8)] {
                let (source, old, new) = (floats(&before[from]), floats(&before[to]), floats(&memory[to]));
                for slot in 0..pool as usize {
                    let row = slot * width..(slot + 1) * width;
                    match slots.iter().position(|s| *s as usize == slot) {
                        Some(t) => prop_assert_eq!(&new[row], &source[t * stride..t * stride + width]),
                        None => prop_assert_eq!(&new[row.clone()], &old[row]),
                    }
                }
            }
        }
    }

    #[test]
    fn append_joins_the_tail_to_each_head(seed: u64, tokens in 0u32..10, heads in 1u32..4, own in 1u32..9, width in 1u32..6) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let (k_width, pool, format) = (heads * own, 12, DType::F32);
            let tail = Some(append::Tail { heads, width, stride: width + 2 });
            let spec = append::Spec::new(tokens, pool, k_width, 3, format).with_k_stride(k_width + 1).with_tail(tail);
            let op = Op::from(spec);
            let mut memory = op.kernel().inputs(&mut rng);
            let before = memory.clone();
            run_in_place(form, &op, &mut memory);
            let slots: Vec<u32> = bytemuck::pod_collect_to_vec(&before[0]);
            let (keys, shared, stored) = (floats(&before[1]), floats(&before[3]), floats(&memory[4]));
            let row = (heads * (own + width)) as usize;
            for (t, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot < pool) {
                for (head, got) in stored[*slot as usize * row..][..row].chunks((own + width) as usize).enumerate() {
                    let key = &keys[t * (k_width + 1) as usize + head * own as usize..][..own as usize];
                    prop_assert_eq!(&got[..own as usize], key);
                    prop_assert_eq!(&got[own as usize..], &shared[t * (width + 2) as usize..][..width as usize]);
                }
            }
        }
    }

    #[test]
    fn append_stores_the_nearest_number(seed: u64, scale in 1e-6f32..1e3) {
        let mut rng = Rng::new(seed);
        let (tokens, width) = (3u32, 64u32);
        for format in [DType::F32, DType::F16, DType::Q8_0] {
            let (k_width, k_stride, tail) = (width, width, None);
            let spec = append::Spec::new(tokens, 4, k_width, 32, format)
                .with_k_stride(k_stride)
                .with_v_stride(33)
                .with_tail(tail);
            let op = Op::from(spec);
            let k = rng.normals((tokens * width) as usize, scale);
            for form in FORMS {
                let mut memory = op.kernel().inputs(&mut Rng::new(seed));
                memory[0] = u32_bytes(&[2, 0, 3]);
                memory[1] = bytes(&k);
                let before = memory[3].clone();
                run_in_place(form, &op, &mut memory);
                let stored = decoded(format, &memory[3], (4 * width) as usize);
                let row = memory[3].len() / 4;
                prop_assert_eq!(&memory[3][row..2 * row], &before[row..2 * row]);
                for (t, slot) in [2usize, 0, 3].into_iter().enumerate() {
                    let rows = |x: &[f32], row: usize| x[row * width as usize..][..width as usize].to_vec();
                    for (x, got) in rows(&k, t).chunks(32).zip(rows(&stored, slot).chunks(32)) {
                        let most = x.iter().fold(0f32, |most, x| most.max(x.abs()));
                        for (x, got) in x.iter().zip(got) {
                            let bound = match format {
                                DType::F32 => 0.0,
                                // Half of the last of 11 bits, or of the smallest number.
                                DType::F16 => (x.abs() / 2048.0).max(3e-8),
                                // Half a step, and the rounding of the step to f16, 127 times at most.
                                _ => most / 254.0 * 1.001 + 127.0 * (most / 127.0 / 2048.0).max(3e-8),
                            };
                            prop_assert!((x - got).abs() <= bound, "{} of {} in {}", got, x, format);
                        }
                    }
                }
            }
        }
    }
}
