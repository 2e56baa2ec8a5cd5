use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::centroids::{NAME, Spec, Update, lloyd, plus_plus};
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::rng::Rng;
use foveate_kernels::route::Norm;
use foveate_kernels::testing::{f32_bytes, u32_bytes};
use proptest::prelude::*;

const UPDATES: [Update; 4] = [Update::Counted, Update::Sums, Update::Unit, Update::Smoothed];

fn spec(tokens: u32, clusters: u32, update: Update) -> Spec {
    Spec::new(2, tokens, 2, 6, clusters).with_norm(Norm::Layer).with_update(update).with_decay(0.8)
}

/// The arguments of a spec after it ran on `memory`, by name.
fn run(form: Form, spec: Spec, mut memory: Vec<Vec<u8>>) -> impl Fn(&str) -> Vec<f32> {
    run_in_place(form, &Op::from(spec), &mut memory);
    move |name| floats(&memory[position(&spec, name)])
}

fn position(spec: &Spec, name: &str) -> usize {
    spec.args().iter().position(|arg| arg.name == name).unwrap_or_else(|| panic!("{NAME} has no {name}"))
}

/// The tokens of a centroid of a head, as rows of `x` with layer norm.
fn rows(spec: &Spec, memory: &[Vec<u8>], h: usize, c: usize) -> Vec<Vec<f64>> {
    let words = |name| -> Vec<u32> { bytemuck::pod_collect_to_vec(&memory[position(spec, name)]) };
    let (x, members, ranges) = (floats(&memory[0]), words("members"), words("ranges"));
    let (tokens, heads, dim) = (spec.tokens as usize, spec.heads as usize, spec.dim as usize);
    let mut all = Vec::new();
    for b in 0..spec.batch as usize {
        let unit = b * heads + h;
        let at = 2 * (unit * spec.clusters as usize + c);
        for &token in &members[unit * tokens..][ranges[at] as usize..ranges[at + 1] as usize] {
            let row = &x[((b * tokens + token as usize) * heads + h) * dim..][..dim];
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / dim as f64;
            let var = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / dim as f64;
            all.push(row.iter().map(|x| (f64::from(*x) - mean) / (var + 1e-6).sqrt()).collect());
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Routing 9: `lambda = 1` freezes, and empty clusters stay.
    #[test]
    fn centroids_stay_with_a_decay_of_1_and_where_no_token_is(tokens in 1u32..40, clusters in 2u32..6, seed: u64) {
        for (update, form) in UPDATES.into_iter().flat_map(|u| FORMS.map(|form| (u, form))) {
            let own = spec(tokens, clusters, update);
            let memory = own.inputs(&mut Rng::new(seed));
            let before = floats(&memory[position(&own, "centroids")]);
            let (frozen, moved) = (own.with_decay(1.0), run(form, own, memory.clone()));
            if update != Update::Smoothed {
                prop_assert_eq!(&run(form, frozen, memory.clone())("centroids"), &before);
                for (i, (new, old)) in moved("centroids").chunks(6).zip(before.chunks(6)).enumerate() {
                    let (h, c) = (i / clusters as usize, i % clusters as usize);
                    prop_assert_eq!(new == old, rows(&own, &memory, h, c).is_empty());
                }
            }
        }
    }

    /// Routing 9: `lambda = 0` is the batch's mean.
    #[test]
    fn centroids_with_a_decay_of_0_are_what_their_tokens_are(tokens in 8u32..40, seed: u64) {
        for (update, form) in UPDATES.into_iter().flat_map(|u| FORMS.map(|form| (u, form))) {
            let own = spec(tokens, 3, update).with_decay(0.0);
            let memory = own.inputs(&mut Rng::new(seed));
            let centroids = run(form, own, memory.clone())("centroids");
            for (i, got) in centroids.chunks(6).enumerate() {
                let rows = rows(&own, &memory, i / 3, i % 3);
                if rows.is_empty() {
                    continue;
                }
                let sum: Vec<f64> = (0..6).map(|d| rows.iter().map(|row| row[d]).sum()).collect();
                let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
                let over = match update {
                    Update::Sums => 1.0,
                    Update::Unit => length,
                    _ => rows.len() as f64,
                };
                let want: Vec<f32> = sum.iter().map(|sum| (sum / over) as f32).collect();
                // Smoothed counts are off by their smoothing.
                assert_close(got, &want, 1e-4);
            }
        }
    }

    #[test]
    fn centroids_counted_are_smoothed_ones_without_smoothing(tokens in 8u32..40, seed: u64) {
        // From centroids and counts as after the first update: means are counts times centroids.
        let counted = spec(tokens, 3, Update::Counted);
        let memory = counted.inputs(&mut Rng::new(seed));
        let (centroids, counts) = (floats(&memory[3]), floats(&memory[4]));
        let means: Vec<f32> = centroids.iter().enumerate().map(|(i, c)| c * counts[i / 6]).collect();
        let smoothed = [memory.clone(), vec![f32_bytes(&means)]].concat();
        let want = run(Form::Reference, counted.with_update(Update::Smoothed), smoothed)("centroids");
        assert_close(&run(Form::Cpu, counted, memory)("centroids"), &want, 1e-3);
    }

    /// Routing 10, of tokens in no list.
    #[test]
    fn centroids_do_not_move_by_tokens_in_no_list(tokens in 8u32..40, seed: u64) {
        let own = spec(tokens, 4, Update::Counted).with_commitment(Some(0.5));
        let mut rng = Rng::new(seed);
        let memory = own.inputs(&mut rng);
        let mut padded = memory.clone();
        let mut x = floats(&memory[0]);
        // `inputs` leaves these out.
        for (i, x) in x.chunks_mut(12).enumerate().filter(|(i, _)| i % tokens as usize % 7 == 3) {
            x.fill(1e3 * (i as f32 + rng.unit()));
        }
        padded[0] = bytes(&x);
        let (a, b) = (run(Form::Cpu, own, memory), run(Form::Cpu, own, padded));
        for name in ["centroids", "counts", "loss", "dx"] {
            prop_assert_eq!(a(name), b(name));
        }
        prop_assert!(a("dx").chunks(12).enumerate().all(|(i, dx)| i % tokens as usize % 7 != 3 || dx.iter().all(|d| *d == 0.0)));
    }

    /// Routing 10, of tokens behind the lengths.
    #[test]
    fn centroids_do_not_move_by_what_stands_behind_the_lengths(tokens in 1u32..40, update in 0usize..4, seed: u64) {
        let own = spec(tokens, 4, UPDATES[update]).with_commitment(Some(0.5)).with_lengths(true);
        let memory = own.inputs(&mut Rng::new(seed));
        let lengths: Vec<u32> = bytemuck::pod_collect_to_vec(&memory[position(&own, "lengths")]);
        // Lists that end there, and no lengths.
        let (mut cut, plain) = (memory.clone(), own.with_lengths(false));
        let [members, ranges]: [Vec<u32>; 2] = [1, 2].map(|i| bytemuck::pod_collect_to_vec(&memory[i]));
        let shorter = ranges.chunks_exact(2).enumerate().flat_map(|(list, range)| {
            let (unit, [begin, end]) = (list / 4, [range[0], range[1]]);
            let behind = |place: &u32| members[unit * tokens as usize + *place as usize] >= lengths[unit / 2];
            [begin, (begin..end).find(behind).unwrap_or(end)]
        });
        cut[2] = u32_bytes(&shorter.collect::<Vec<_>>());
        cut.remove(position(&own, "lengths"));
        let mut padded = memory.clone();
        let mut x = floats(&memory[0]);
        for (x, &length) in x.chunks_exact_mut(12 * tokens as usize).zip(&lengths) {
            x.chunks_exact_mut(12).skip(length as usize).for_each(|x| x.fill(f32::NAN));
        }
        padded[0] = bytes(&x);
        for form in FORMS {
            let (got, want) = (run(form, own, padded.clone()), run(form, plain, cut.clone()));
            for name in plain.args()[3..].iter().map(|arg| arg.name) {
                prop_assert_eq!(got(name), want(name));
            }
        }
    }

    #[test]
    fn centroids_loss_has_the_slope_that_dx_says(seed: u64, norm in 0usize..3) {
        let norm = [Norm::None, Norm::L2, Norm::Layer][norm];
        let own = spec(11, 3, Update::Counted).with_norm(norm).with_commitment(Some(3.0));
        let mut rng = Rng::new(seed);
        let memory = own.inputs(&mut rng);
        let x = floats(&memory[0]);
        let direction = rng.normals(x.len(), 1.0);
        let loss = |step: f32| {
            let moved: Vec<f32> = x.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let mut memory = memory.clone();
            memory[0] = bytes(&moved);
            f64::from(run(Form::Reference, own, memory)("loss")[0])
        };
        let dx = run(Form::Cpu, own, memory.clone())("dx");
        let want: f64 = dx.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let slope = (loss(1e-3) - loss(-1e-3)) / 2e-3;
        prop_assert!((slope - want).abs() <= 2e-2 * (1.0 + want.abs()), "{} and {}", slope, want);
    }

    #[test]
    fn lloyd_never_moves_away_and_plus_plus_chooses_points(n in 1usize..60, k in 1usize..8, seed: u64) {
        let mut rng = Rng::new(seed);
        let points = rng.normals(3 * n, 1.0);
        let mut centroids = plus_plus(&points, 3, k, &mut rng);
        prop_assert_eq!(centroids.len(), 3 * k);
        prop_assert!(centroids.chunks(3).all(|c| points.chunks(3).any(|p| p == c)));
        let mut last = f32::MAX;
        for _ in 0..6 {
            let off = lloyd(&points, 3, &mut centroids, 1);
            prop_assert!(off <= last * (1.0 + 1e-5));
            last = off;
        }
    }
}

/// Routing 9: the loss is 0 where `x` is its centroid.
#[test]
fn centroids_have_no_loss_where_tokens_stand_on_them() {
    let own = spec(5, 1, Update::Counted).with_batch(1).with_heads(1).with_norm(Norm::None).with_commitment(Some(1.0));
    let mut memory = own.inputs(&mut Rng::new(1));
    memory[0] = bytes(&floats(&memory[3]).repeat(5));
    for form in FORMS {
        let after = run(form, own, memory.clone());
        assert_eq!(after("loss"), [0.0]);
        assert!(after("dx").iter().all(|d| *d == 0.0));
        assert_close(&after("centroids"), &floats(&memory[3]), 1e-6);
    }
}

#[test]
fn centroids_are_found_where_tokens_gather() {
    let mut rng = Rng::new(3);
    let truth: Vec<f32> = (0..4).flat_map(|c| (0..4).map(move |d| if c == d { 10.0 } else { 0.0 })).collect();
    let points: Vec<f32> =
        (0..400).flat_map(|i| (0..4).map(|d| truth[i % 4 * 4 + d] + 0.1 * rng.normal()).collect::<Vec<_>>()).collect();
    let mut found = plus_plus(&points, 4, 4, &mut rng);
    assert!(lloyd(&points, 4, &mut found, 5) < 0.1);
    for centre in truth.chunks(4) {
        let near = |c: &[f32]| c.iter().zip(centre).all(|(a, b)| (a - b).abs() < 0.1);
        assert!(found.chunks(4).any(near), "{centre:?} in {found:?}");
    }
    assert!(plus_plus(&[], 4, 3, &mut rng).is_empty() && lloyd(&[], 4, &mut found, 3) == 0.0);
}

#[test]
fn centroids_refuse_specs_that_mean_nothing() {
    let own = spec(4, 2, Update::Counted);
    for bad in [
        own.with_clusters(0),
        own.with_tokens(0),
        own.with_dim(0),
        own.with_dim(257),
        own.with_decay(1.5),
        own.with_decay(f32::NAN),
        own.with_commitment(Some(-1.0)),
        own.with_commitment(Some(f32::INFINITY)),
        own.with_tokens(u32::MAX),
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
}
