//! Rows of logits with NaN, infinities and masks, sampled on every executor and adapter.

use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::{Any, Backend, run_on};
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::sample::{Draw, NOT_FINITE, Spec, choosable};
use foveate_kernels::testing::{f32_bytes, u32_bytes};
use pollster::block_on;

const SIZES: [usize; 4] = [1, 31, 257, 5000];

/// Bits of NaN of both signs, quiet and signalling, and of +infinity.
const WRONG: [u32; 5] = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xff80_0001, 0x7f80_0000];

/// Choices of every kind: argmax, draws from everything, and draws that filter.
fn specs(vocab: usize) -> Vec<Spec> {
    let draw = |top_k, top_p, min_p| Some(Draw::new(0.8, 0.37).with_top_k(top_k).with_top_p(top_p).with_min_p(min_p));
    let draws = [None, draw(0, 1.0, 0.0), draw(3, 1.0, 0.0), draw(0, 0.9, 0.0), draw(40, 0.95, 0.05)];
    let spec = |draw, penalty| Spec::new(vocab as u32).with_draw(draw).with_penalty(penalty);
    draws.into_iter().flat_map(|draw| [spec(draw, 1.0), spec(draw, 1.3), spec(draw, 0.5)]).collect()
}

/// What stays of `seen` and what `token` is.
fn sample(backend: &Any, spec: Spec, row: &[f32], seen: &[u32]) -> (Vec<u32>, u32) {
    let op = Op::from(spec);
    let (row, seen_bytes) = (f32_bytes(row), u32_bytes(seen));
    let mut inputs = vec![("logits", &row[..])];
    inputs.extend((spec.penalty != 1.0).then_some(("seen", &seen_bytes[..])));
    let outputs = block_on(run_on(backend, &op, &inputs)).expect("a valid spec runs");
    let token = outputs.u32("token").expect("an output")[0];
    (outputs.u32("seen").unwrap_or_else(|| seen.to_vec()), token)
}

/// The processor, and every adapter by the plans of software drivers, of GPUs and of WebGPU's defaults.
fn executors() -> Vec<Any> {
    let mut all = vec![Any::Host(HostBackend::cpu(2))];
    let adapters = block_on(gpu::adapters());
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!adapters.is_empty() || !required, "no adapter was found");
    for adapter in &adapters {
        for (baseline, as_gpu) in [(false, false), (false, true), (true, true)] {
            let gpu = block_on(Gpu::from_adapter(adapter, gpu::Options::default().baseline(baseline).software(true)));
            let gpu = gpu.expect("the adapter gives a device");
            all.push(Any::Gpu(if as_gpu { gpu.as_gpu() } else { gpu }));
        }
    }
    all
}

/// Asserts that every executor chooses as the definition does, and returns the definition's choice.
fn agreed(executors: &[Any], spec: Spec, row: &[f32], seen: &[u32]) -> (Vec<u32>, u32) {
    let wanted = sample(&Any::Host(HostBackend::reference()), spec, row, seen);
    for backend in executors {
        let got = sample(backend, spec, row, seen);
        assert_eq!(got, wanted, "{} on {}", Op::from(spec).name(), backend.describe());
    }
    wanted
}

#[test]
fn sample_of_nan_or_infinity_writes_the_reserved_id() {
    let executors = executors();
    for vocab in SIZES {
        let row = Rng::new(vocab as u64).normals(vocab, 3.0);
        let seen = vec![0x5555_5555; vocab.div_ceil(32)];
        for spec in specs(vocab) {
            for (i, wrong) in WRONG.into_iter().enumerate() {
                let mut row = row.clone();
                row[[0, vocab - 1, vocab / 2][i % 3]] = f32::from_bits(wrong);
                let (after, token) = agreed(&executors, spec, &row, &seen);
                assert_eq!((after, token), (seen.clone(), NOT_FINITE), "{spec:?}, {wrong:#x}");
            }
            let all = vec![f32::NAN; vocab];
            assert_eq!(agreed(&executors, spec, &all, &seen).1, NOT_FINITE, "{spec:?}");
        }
    }
}

#[test]
fn sample_never_chooses_a_mask() {
    let executors = executors();
    for vocab in SIZES {
        let seen = vec![0x3333_3333; vocab.div_ceil(32)];
        let mut rng = Rng::new(vocab as u64);
        let masked = vec![f32::NEG_INFINITY; vocab];
        let mut most = masked.clone();
        (0..vocab).step_by(7).for_each(|i| most[i] = rng.normal());
        let mut one = masked.clone();
        one[vocab / 2] = f32::MIN;
        for spec in specs(vocab) {
            assert_eq!(agreed(&executors, spec, &masked, &seen).1, NOT_FINITE, "{spec:?}");
            let (after, token) = agreed(&executors, spec, &most, &seen);
            assert!(token.is_multiple_of(7) && (token as usize) < vocab, "{spec:?} chose {token}");
            if spec.penalty != 1.0 {
                assert!(after[token as usize / 32] >> (token % 32) & 1 == 1, "{spec:?}: {token} is not marked");
            }
            if spec.penalty == 1.0 {
                assert_eq!(agreed(&executors, spec, &one, &seen).1 as usize, vocab / 2, "{spec:?}");
            }
        }
    }
}

#[test]
fn sample_of_a_penalised_logit_that_overflows_writes_the_reserved_id() {
    let executors = executors();
    for vocab in SIZES {
        let mut row = Rng::new(vocab as u64).normals(vocab, 3.0);
        row[vocab / 2] = f32::MAX;
        let (seen, unseen) = (vec![u32::MAX; vocab.div_ceil(32)], vec![0; vocab.div_ceil(32)]);
        for spec in specs(vocab).into_iter().filter(|spec| spec.penalty == 0.5) {
            assert_eq!(agreed(&executors, spec, &row, &seen), (seen.clone(), NOT_FINITE), "{spec:?}");
            assert_eq!(agreed(&executors, spec, &row, &unseen).1 as usize, vocab / 2, "{spec:?}");
        }
    }
}

#[test]
fn rows_are_choosable_unless_a_number_is_no_number() {
    assert!(choosable(&[f32::NEG_INFINITY, -1.0]));
    assert!(choosable(&[f32::MAX, f32::MIN]));
    assert!(!choosable(&[]));
    assert!(!choosable(&[f32::NEG_INFINITY; 3]));
    for wrong in WRONG {
        assert!(!choosable(&[0.0, f32::from_bits(wrong)]), "{wrong:#x}");
    }
}
