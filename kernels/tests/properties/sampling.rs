use super::{FORMS, Form, bytes, run_in_place};
use foveate_kernels::ops::Op;
use foveate_kernels::rng::Rng;
use foveate_kernels::sample::{Draw, NOT_FINITE, Spec};
use foveate_kernels::testing::u32_bytes;
use proptest::prelude::*;

fn choose(form: Form, logits: &[f32], draw: Option<Draw>) -> u32 {
    let spec = Spec::new(logits.len() as u32).with_draw(draw);
    let mut memory = [bytes(logits), vec![0xff; 4]];
    run_in_place(form, &Op::from(spec), &mut memory);
    bytemuck::pod_read_unaligned(&memory[1])
}

const PLAIN: Draw = Draw::new(1.0, 0.0);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sample_of_the_likeliest_one_is_argmax(seed: u64, vocab in 1usize..500, uniform in 0f32..0.999) {
        let mut rng = Rng::new(seed);
        // Few different values, so that there are ties.
        let logits: Vec<f32> = (0..vocab).map(|_| rng.below(20) as f32 - 10.0).collect();
        let want = (0..vocab).fold(0, |best, i| if logits[i] > logits[best] { i } else { best }) as u32;
        for form in FORMS {
            prop_assert_eq!(choose(form, &logits, None), want);
            for draw in [PLAIN.with_top_k(1), PLAIN.with_top_p(0.0)] {
                prop_assert_eq!(choose(form, &logits, Some(draw.with_uniform(uniform))), want);
            }
        }
    }

    #[test]
    fn sample_follows_the_distribution(seed: u64, vocab in 2usize..12) {
        // The share of a grid of uniform numbers that gives token i is its probability.
        let mut rng = Rng::new(seed);
        let logits = rng.normals(vocab, 1.5);
        let sum: f64 = logits.iter().map(|z| f64::from(*z).exp()).sum();
        const GRID: usize = 1000;
        for form in FORMS {
            let mut counts = vec![0usize; vocab];
            for i in 0..GRID {
                let draw = PLAIN.with_uniform((i as f32 + 0.5) / GRID as f32);
                counts[choose(form, &logits, Some(draw)) as usize] += 1;
            }
            for (count, z) in counts.iter().zip(&logits) {
                let p = f64::from(*z).exp() / sum;
                prop_assert!((*count as f64 / GRID as f64 - p).abs() < 2.0 / GRID as f64, "{count} of {GRID}, p {p}");
            }
        }
    }

    #[test]
    fn sample_keeps_to_the_filters(seed: u64, vocab in 1usize..300, top_k in 1u32..20, uniform in 0f32..0.999) {
        let mut rng = Rng::new(seed);
        let logits = rng.normals(vocab, 2.0);
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let above = |z: f32| logits.iter().filter(|l| **l > z).count() as u32;
        for form in FORMS {
            let id = choose(form, &logits, Some(PLAIN.with_top_k(top_k).with_uniform(uniform))) as usize;
            prop_assert!(above(logits[id]) < top_k);
            let id = choose(form, &logits, Some(PLAIN.with_min_p(0.1).with_uniform(uniform))) as usize;
            prop_assert!((logits[id] - max).exp() >= 0.0999);
        }
    }

    #[test]
    fn sample_marks_what_it_chose(seed: u64, vocab in 1u32..300) {
        let mut rng = Rng::new(seed);
        for form in FORMS {
            let words = vocab.div_ceil(32) as usize;
            let seen: Vec<u32> = (0..words).map(|_| rng.next_u64() as u32).collect();
            let mut memory = [bytes(&rng.normals(vocab as usize, 2.0)), u32_bytes(&seen), vec![0xff; 4]];
            run_in_place(form, &Op::from(Spec::new(vocab).with_penalty(1.5)), &mut memory);
            let (after, id): (Vec<u32>, u32) =
                (bytemuck::pod_collect_to_vec(&memory[1]), bytemuck::pod_read_unaligned(&memory[2]));
            let mut want = seen;
            want[id as usize / 32] |= 1 << (id % 32);
            prop_assert_eq!(after, want);
        }
    }
}

#[test]
fn sample_chooses_no_token_of_a_row_that_is_not_finite() {
    let rows: [&[f32]; 4] = [
        &[f32::NAN, 1.0, f32::NAN, 2.0, f32::NEG_INFINITY],
        &[f32::NAN; 4],
        &[1.0, f32::INFINITY, f32::MAX],
        &[f32::NEG_INFINITY; 3],
    ];
    for form in FORMS {
        for row in rows {
            assert_eq!(choose(form, row, None), NOT_FINITE, "{form:?}, {row:?}");
            for uniform in [0.0, 0.2, 0.5, 0.99] {
                let draw = PLAIN.with_uniform(uniform);
                assert_eq!(choose(form, row, Some(draw)), NOT_FINITE, "{form:?}, {row:?}, {uniform}");
            }
        }
    }
}

#[test]
fn sample_never_takes_a_masked_token() {
    for form in FORMS {
        let row = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY, 2.0, f32::NEG_INFINITY];
        assert_eq!(choose(form, &row, None), 3);
        for uniform in [0.0, 0.2, 0.5, 0.99] {
            let id = choose(form, &row, Some(PLAIN.with_uniform(uniform)));
            assert!(id == 1 || id == 3, "{form:?} took {id}");
        }
    }
}
