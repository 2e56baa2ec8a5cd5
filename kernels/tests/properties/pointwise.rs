use super::{FORMS, assert_close, bytes, floats, run, run_in_place};
use foveate_kernels::activation::{self, Kind};
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::rope::{Frequencies, Pairing};
use foveate_kernels::testing::u32_bytes;
use foveate_kernels::{append, norm, rope, rope_append};
use proptest::prelude::*;

/// Queries rotated to `position`, one head.
fn rotated(form: super::Form, pairing: Pairing, x: &[f32], position: u32) -> Vec<f32> {
    let (dim, positions) = (x.len() as u32, 600);
    let spec = rope::Spec::new(1, 1, dim, positions).with_pairing(pairing).with_stride(dim);
    let table = Frequencies::new(10000.0, dim).table(positions);
    let mut memory = [u32_bytes(&[position]), bytes(&table), bytes(x)];
    run_in_place(form, &Op::from(spec), &mut memory);
    floats(&memory[2])
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn norm_rms_ignores_the_scale_of_its_input(seed: u64, rows in 1u32..5, dim in 1u32..200, scale in 0.1f32..50.0) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let (x, w) = (rng.normals((rows * dim) as usize, 1.0), rng.normals(dim as usize, 1.0));
            let scaled: Vec<f32> = x.iter().map(|x| x * scale).collect();
            let apply = |x: &[f32]| run(form, norm::Spec::rms(rows, dim, 0.0), &[bytes(x), bytes(&w)], x.len());
            assert_close(&apply(&scaled), &apply(&x), 1e-5);
        }
    }

    #[test]
    fn norm_layer_has_mean_zero_and_variance_one(seed: u64, dim in 2u32..300, shift in -3f32..3.0) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let x: Vec<f32> = rng.normals(dim as usize, 1.0).iter().map(|x| x + shift).collect();
            let spec = norm::Spec::rms(1, dim, 0.0).with_kind(norm::Kind::Layer);
            let y = run(form, spec, &[bytes(&x), bytes(&vec![1.0; dim as usize])], x.len());
            let mean = y.iter().sum::<f32>() / dim as f32;
            let variance = y.iter().map(|y| (y - mean) * (y - mean)).sum::<f32>() / dim as f32;
            prop_assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "mean {mean}, variance {variance}");
        }
    }

    #[test]
    fn norm_with_a_residual_is_the_norm_of_the_sum(seed: u64, rows in 1u32..5, dim in 1u32..100) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let n = (rows * dim) as usize;
            let (x, r, w) = (rng.normals(n, 1.0), rng.normals(n, 1.0), rng.normals(dim as usize, 1.0));
            let sum: Vec<f32> = x.iter().zip(&r).map(|(x, r)| x + r).collect();
            let want = run(form, norm::Spec::rms(rows, dim, 1e-5), &[bytes(&sum), bytes(&w)], n);
            let spec = norm::Spec::rms(rows, dim, 1e-5).with_residual(true);
            let mut memory = [bytes(&x), bytes(&r), bytes(&w), vec![0xff; n * 4]];
            run_in_place(form, &Op::from(spec), &mut memory);
            prop_assert_eq!(floats(&memory[0]), sum);
            assert_close(&floats(&memory[3]), &want, 1e-6);
        }
    }

    #[test]
    fn rope_append_is_rope_and_then_append(seed: u64, tokens in 0u32..9, heads in 0u32..4, kv_heads in 1u32..3, rotary in 1u32..5) {
        let (dim, positions, pool, rotary, mut rng) = (8, 40, 12, 2 * rotary, Rng::new(seed));
        let width = (heads + 2 * kv_heads) * dim;
        for (form, pairing) in FORMS.into_iter().flat_map(|form| [(form, Pairing::Half), (form, Pairing::Interleaved)]) {
            let stride = width + 3;
            let spec = rope_append::Spec::new(tokens, heads, kv_heads, dim, positions, pool)
                .with_rotary(rotary)
                .with_pairing(pairing)
                .with_stride(stride);
            let both = Op::from(spec);
            let mut memory = both.kernel().inputs(&mut rng);
            let [at, table, slots, mut turned, k_pool, v_pool] = <[Vec<u8>; 6]>::try_from(memory.clone()).expect("six");
            run_in_place(form, &both, &mut memory);

            let rope = rope::Spec::new(tokens, heads + kv_heads, dim, positions)
                .with_rotary(rotary)
                .with_pairing(pairing)
                .with_stride(stride);
            let mut apart = [at, table, turned.clone()];
            run_in_place(form, &Op::from(rope), &mut apart);
            let (k_width, kv) = (kv_heads * dim, |row: &[f32], from: u32| row[from as usize..][..(kv_heads * dim) as usize].to_vec());
            let rows: Vec<Vec<f32>> = floats(&apart[2]).chunks(stride as usize).map(<[f32]>::to_vec).collect();
            let (mut k, mut v): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
            for row in &rows {
                k.extend(kv(row, heads * dim));
                v.extend(kv(row, heads * dim + k_width));
            }
            let (v_width, k_stride, v_stride, format, tail) = (k_width, k_width, k_width, DType::F32, None);
            let append = append::Spec::new(tokens, pool, k_width, v_width, format)
                .with_k_stride(k_stride)
                .with_v_stride(v_stride)
                .with_tail(tail);
            let mut pools = [slots, bytes(&k), bytes(&v), k_pool, v_pool];
            run_in_place(form, &Op::from(append), &mut pools);
            prop_assert_eq!((&memory[4], &memory[5]), (&pools[3], &pools[4]));

            // Queries are turned, all else in their rows is as it was.
            let mut want = floats(&turned);
            for (row, turned) in want.chunks_mut(stride as usize).zip(&rows) {
                row[..(heads * dim) as usize].copy_from_slice(&turned[..(heads * dim) as usize]);
            }
            turned = bytes(&want);
            prop_assert_eq!(&memory[3], &turned);
        }
    }

    #[test]
    fn rope_scores_depend_on_the_distance_alone(seed: u64, half in 1usize..40, p in 0u32..500, d in 0u32..90) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            for pairing in [Pairing::Half, Pairing::Interleaved] {
                let (q, k) = (rng.normals(2 * half, 1.0), rng.normals(2 * half, 1.0));
                let at = |position| dot(&rotated(form, pairing, &q, position + d), &rotated(form, pairing, &k, position));
                // Angles of up to 590 are rounded to 3e-5.
                prop_assert!((at(p) - at(0)).abs() < 2e-3 * (1.0 + half as f32), "{} and {}", at(p), at(0));
                prop_assert_eq!(&rotated(form, pairing, &q, 0), &q);
            }
        }
    }

    #[test]
    fn rope_pairings_are_permutations_of_each_other(seed: u64, half in 1usize..40, p in 0u32..500) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let x = rng.normals(2 * half, 1.0);
            let interleaved: Vec<f32> = (0..2 * half).map(|i| x[i / 2 + i % 2 * half]).collect();
            let (a, b) = (rotated(form, Pairing::Half, &x, p), rotated(form, Pairing::Interleaved, &interleaved, p));
            for i in 0..2 * half {
                prop_assert!((a[i / 2 + i % 2 * half] - b[i]).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn activation_halves_differ_by_their_input(xs in prop::collection::vec(-30f32..30.0, 1..100)) {
        // f(x) - f(-x) = x for x g(x) with g(x) + g(-x) = 1.
        for form in FORMS {
            for kind in [Kind::Silu, Kind::Gelu, Kind::GeluTanh, Kind::Relu] {
                let n = xs.len() as u32;
                let spec = activation::Spec::new(1, n, kind);
                let negative: Vec<f32> = xs.iter().map(|x| -x).collect();
                let (a, b) = (run(form, spec, &[bytes(&xs)], xs.len()), run(form, spec, &[bytes(&negative)], xs.len()));
                let difference: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
                assert_close(&difference, &xs, 1e-5);
            }
        }
    }

    #[test]
    fn activation_gates_multiply(seed: u64, rows in 1u32..5, dim in 1u32..50) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let x = rng.normals((2 * rows * dim) as usize, 2.0);
            let plain = activation::Spec::new(rows, dim, Kind::Silu).with_stride(2 * dim);
            let gated = plain.with_gated(true);
            let n = (rows * dim) as usize;
            let (f, y) = (run(form, plain, &[bytes(&x)], n), run(form, gated, &[bytes(&x)], n));
            for i in 0..n {
                let up = x[i / dim as usize * 2 * dim as usize + dim as usize + i % dim as usize];
                prop_assert!((y[i] - f[i] * up).abs() <= 1e-5 * (1.0 + y[i].abs()));
            }
        }
    }
}

#[test]
fn norm_gates_multiply_what_it_gives() {
    let mut rng = Rng::new(7);
    let (x, weight, z) = (rng.normals(24, 1.0), rng.normals(4, 1.0), rng.normals(24, 3.0));
    for form in FORMS {
        for kind in [Kind::Silu, Kind::Sigmoid] {
            let plain = norm::Spec::rms(3, 4, 1e-6).with_groups(2).with_stride(8);
            let gated = plain.with_gate(Some(norm::Gate { kind, stride: 8 }));
            let y = run(form, plain, &[bytes(&x), bytes(&weight)], 24);
            let got = run(form, gated, &[bytes(&x), bytes(&weight), bytes(&z)], 24);
            let spec = activation::Spec::new(1, 24, kind).with_scales(true);
            let mut memory = [bytes(&z), bytes(&y)];
            crate::run_in_place(form, &spec.into(), &mut memory);
            assert_close(&got, &crate::floats(&memory[1]), 1e-6);
        }
    }
}

#[test]
fn activation_stays_finite_at_the_ends() {
    for form in FORMS {
        for kind in [Kind::Silu, Kind::Gelu, Kind::GeluTanh, Kind::Relu] {
            let x = [-1e30, -1e4, -90.0, 0.0, 90.0, 1e4];
            let spec = activation::Spec::new(1, 6, kind);
            let y = run(form, spec, &[bytes(&x)], 6);
            assert!(y[0].abs() < 1e-6 && y[1].abs() < 1e-6 && y[2].abs() < 1e-6, "{form:?} {kind:?} {y:?}");
            assert_eq!(y[3..], [0.0, 90.0, 1e4], "{form:?} {kind:?}");
        }
    }
}
