use super::delta::{Run, close, spec};
use super::{FORMS, assert_close, bytes, floats, run, run_in_place};
use foveate_kernels::delta::{self, Gate};
use foveate_kernels::gate::{self, Kind};
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::scan_gates;
use proptest::prelude::*;

/// Steps and decays.
fn steps(form: super::Form, spec: scan_gates::Spec, dt: &[f32], a_log: &[f32], bias: &[f32]) -> [Vec<f32>; 2] {
    let empty = vec![0xff; (spec.rows * spec.heads) as usize * 4];
    let mut memory = vec![bytes(dt), bytes(a_log), bytes(bias), empty.clone(), empty];
    run_in_place(form, &Op::from(spec), &mut memory);
    [floats(&memory[3]), floats(&memory[4])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_scan_is_the_delta_rule_that_erases_nothing(spec in spec(), seed: u64) {
        let (dim, width) = (spec.key_dim as usize, spec.value_dim as usize);
        let wide = |x: &[f32], n: usize| -> Vec<f32> { x.iter().flat_map(|x| vec![*x; n]).collect() };
        for form in FORMS {
            let scan = Run::new(spec.with_gate(Gate::Write), seed);
            let (g, beta) = (scan.f32("g"), scan.f32("beta"));
            let erase = vec![0.0; beta.len() * dim];
            let gates: [(&str, &[f32]); 3] =
                [("g", &wide(&g, dim)), ("erase", &erase), ("write", &wide(&beta, width))];
            let both = scan.with(spec.with_gate(Gate::EraseWrite), &gates);
            let (scan, both) = (scan.run(form), both.run(form));
            close(&scan.f32("out"), &both.f32("out"));
            close(&scan.f32("state"), &both.f32("state"));
        }
    }

    #[test]
    fn a_scan_without_decay_along_one_key_is_a_running_sum(tokens in 1u32..90, width in 1u32..20, seed: u64) {
        let spec = delta::Spec::new(1, tokens, 1, 4, width).with_gate(Gate::Write).with_scale(1.0).with_last(true);
        let key: Vec<f32> = (0..tokens).flat_map(|_| [0.0, 1.0, 0.0, 0.0]).collect();
        for form in FORMS {
            let scan = Run::new(spec, seed);
            let ones = vec![1.0; tokens as usize];
            let still = vec![0.0; tokens as usize];
            let scan = scan.with(spec, &[("q", &key), ("k", &key), ("beta", &ones), ("g", &still)]);
            let (v, width) = (scan.f32("v"), width as usize);
            let mut sums = vec![0.0; width];
            let wanted: Vec<f32> = v
                .chunks_exact(width)
                .flat_map(|row| {
                    sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
                    sums.clone()
                })
                .collect();
            close(&scan.run(form).f32("out"), &wanted);
        }
    }

    #[test]
    fn scan_gates_stay_in_their_bounds_and_decays_follow_them(seed: u64, rows in 1u32..9, heads in 1u32..5) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let (dt, a_log, bias) = (
                rng.normals((rows * heads) as usize, 3.0),
                rng.normals(heads as usize, 1.0),
                rng.normals(heads as usize, 1.0),
            );
            let spec = scan_gates::Spec::new(rows, heads).with_least(0.2).with_most(1.5);
            let [step, g] = steps(form, spec, &dt, &a_log, &bias);
            prop_assert!(step.iter().all(|step| (0.2..=1.5).contains(step)), "{step:?}");
            let wanted: Vec<f32> = step.iter().zip(a_log.iter().cycle()).map(|(step, a)| -a.exp() * step).collect();
            assert_close(&g, &wanted, 1e-5);
            // A factor of 0 leaves the bias alone.
            let spec = scan_gates::Spec::new(rows, heads).with_factor(0.0);
            let [step, _] = steps(form, spec, &dt, &a_log, &bias);
            let wanted: Vec<f32> = (0..rows).flat_map(|_| bias.iter().map(|x| x.exp().ln_1p())).collect();
            assert_close(&step, &wanted, 1e-5);
        }
    }

    #[test]
    fn gate_of_heads_is_equal_gates_of_their_elements(seed: u64, rows in 1u32..5, heads in 1u32..5, dim in 1u32..40) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            for kind in Kind::ALL {
                let (n, each) = ((rows * heads * dim) as usize, (rows * heads) as usize);
                let (x, s) = (rng.normals(n, 1.0), rng.normals(n, 1.0));
                let (skip, gates) = (rng.normals(heads as usize, 1.0), rng.normals(each, 2.0));
                let spec = gate::Spec::new(rows, heads, dim, kind).with_scale(0.5).with_skip(Some(heads * dim));
                let inputs = |gates: &[f32]| [bytes(&x), bytes(&s), bytes(&skip), bytes(gates)];
                let wide: Vec<f32> = gates.iter().flat_map(|gate| vec![*gate; dim as usize]).collect();
                let elements = run(form, spec, &inputs(&wide), n);
                let of_heads = Some(gate::Gate { kind, of_heads: true, factor: 1.0, stride: heads });
                let heads = run(form, spec.with_gate(of_heads), &inputs(&gates), n);
                assert_close(&heads, &elements, 1e-6);
                // What is added first is multiplied, too.
                let plain = spec.with_skip(None);
                let sum: Vec<f32> = (0..n)
                    .map(|i| x[i] + skip[i / dim as usize % skip.len()] * s[i])
                    .collect();
                assert_close(&elements, &run(form, plain, &[bytes(&sum), bytes(&wide)], n), 1e-5);
            }
        }
    }
}
