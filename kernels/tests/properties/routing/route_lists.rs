//! Who is a member of what.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Routing 7.
    #[test]
    fn route_lists_are_ascending_and_as_long_as_they_should_be(
        tokens in 1u32..90, clusters in 1u32..9, window in 1u32..40, seed: u64,
    ) {
        let mut rng = Rng::new(seed);
        for selection in SELECTIONS {
            let spec = spec(tokens, clusters, window, selection);
            let (x, centroids) = (rng.normals(8 * tokens as usize, 1.0), rng.normals(8 * clusters as usize, 1.0));
            let lists = Lists::of(Form::Reference, spec, &x, &centroids);
            prop_assert_eq!(&lists, &Lists::of(Form::Cpu, spec, &x, &centroids));
            let [members, ranges, _] = &lists.0;
            check_lists(members, ranges, clusters, spec.entries().expect("few"), tokens).expect("good lists");
            let last = (0..clusters as usize).map(|c| lists.at(c, tokens - 1).len());
            match selection {
                Selection::Nearest => prop_assert!(!members.contains(&NO_MEMBER)),
                _ => prop_assert!(last.clone().all(|n| n == window.min(tokens) as usize)),
            }
            prop_assert!(last.clone().all(|n| n <= window as usize));
        }
    }

    /// Routing 13; that a GPU selects the same of such tokens, the cases of `core/tests/ops.rs` show.
    #[test]
    fn route_ties_go_to_the_earlier_token_and_to_the_first_centroid(tokens in 1u32..60, window in 1u32..20, seed: u64) {
        let mut rng = Rng::new(seed);
        let (one, centroid) = (rng.normals(8, 1.0), rng.normals(8, 1.0));
        let (x, centroids) = (one.repeat(tokens as usize), centroid.repeat(3));
        for form in FORMS {
            let first: Vec<u32> = (0..window.min(tokens)).collect();
            for selection in [Selection::Balanced, Selection::Prefix] {
                let lists = Lists::of(form, spec(tokens, 3, window, selection), &x, &centroids);
                prop_assert!((0..3).all(|c| lists.at(c, tokens - 1) == first));
            }
            let lists = Lists::of(form, spec(tokens, 3, window, Selection::Nearest), &x, &centroids);
            prop_assert_eq!(lists.list(0).len(), tokens as usize);
        }
    }

    /// Routing 3, of the lists.
    #[test]
    fn route_of_a_prefix_is_what_the_whole_had_then(tokens in 2u32..50, clusters in 1u32..6, window in 1u32..12, seed: u64) {
        let mut rng = Rng::new(seed);
        let (x, centroids) = (rng.normals(8 * tokens as usize, 1.0), rng.normals(8 * clusters as usize, 1.0));
        for (selection, form) in CAUSAL.into_iter().zip(FORMS) {
            let whole = Lists::of(form, spec(tokens, clusters, window, selection), &x, &centroids);
            for time in 0..tokens {
                let part = spec(time + 1, clusters, window, selection);
                let part = Lists::of(form, part, &x[..8 * (time + 1) as usize], &centroids);
                for c in 0..clusters as usize {
                    prop_assert_eq!(whole.at(c, time), part.at(c, time));
                }
            }
        }
    }

    /// Routing 4 and 5.
    #[test]
    fn route_is_the_same_of_scaled_tokens_and_of_permuted_centroids(tokens in 1u32..60, window in 1u32..20, seed: u64) {
        let mut rng = Rng::new(seed);
        let (x, centroids) = (rng.normals(8 * tokens as usize, 1.0), rng.normals(8 * 4, 1.0));
        // So large that the eps of a layer norm is nothing beside their squares.
        let [x, scaled] = [64.0, 4096.0].map(|size| x.iter().map(|x| x * size).collect::<Vec<_>>());
        let turned: Vec<f32> = centroids.chunks(8).rev().flatten().copied().collect();
        for (selection, norm) in SELECTIONS.into_iter().flat_map(|s| [Norm::L2, Norm::Layer].map(|norm| (s, norm))) {
            let spec = spec(tokens, 4, window, selection).with_norm(norm);
            let lists = Lists::of(Form::Cpu, spec, &x, &centroids);
            prop_assert_eq!(&lists, &Lists::of(Form::Cpu, spec, &scaled, &centroids));
            let turned = Lists::of(Form::Cpu, spec, &x, &turned);
            prop_assert!((0..4).all(|c| lists.list(c) == turned.list(3 - c)));
        }
    }

    /// Routing 10: what stands behind the lengths is selected by none and moves no centroid.
    #[test]
    fn route_knows_nothing_behind_the_lengths(tokens in 1u32..60, window in 1u32..20, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (mut x, centroids) = (rng.normals(3 * n, 1.0), rng.normals(24, 1.0));
        let lengths = [rng.below(tokens + 1), tokens + rng.below(2), rng.below(tokens + 1)];
        for (x, &length) in x.chunks_exact_mut(n).zip(&lengths) {
            x[n.min(8 * length as usize)..].fill(f32::NAN);
        }
        for (selection, form) in SELECTIONS.into_iter().flat_map(|s| FORMS.map(|form| (s, form))) {
            let own = spec(tokens, 3, window, selection).with_batch(3).with_lengths(true).with_scores(true);
            let all = outputs(form, own, &[bytes(&x), bytes(&centroids), u32_bytes(&lengths)]);
            let words = |i: usize| -> Vec<u32> { bytemuck::pod_collect_to_vec(&all[i]) };
            let (members, ranges, scores) = (words(0), words(1), floats(&all[all.len() - 1]));
            let places = members.len() / 3;
            for (b, length) in lengths.into_iter().map(|length| length.min(tokens)).enumerate() {
                let rows = 8 * length as usize;
                let alone = spec(length, 3, window, selection);
                let want = Lists::of(form, alone, &x[b * n..b * n + rows], &centroids);
                let until = if own.expires() { words(2)[b * places..][..places].to_vec() } else { vec![tokens; places] };
                let got = Lists([members[b * places..][..places].to_vec(), ranges[6 * b..][..6].to_vec(), until]);
                for c in 0..3 {
                    // Who stays does so until the end of all tokens.
                    let stays = |(m, until): (u32, u32)| (m, if until == length { tokens } else { until });
                    prop_assert_eq!(got.list(c), want.list(c).into_iter().map(stays).collect::<Vec<_>>());
                }
                let listed = (0..3).map(|c| got.list(c).len()).sum::<usize>();
                prop_assert_eq!(got.0[0].iter().filter(|m| **m != NO_MEMBER).count(), listed);
                let s = &scores[3 * tokens as usize * b..][..3 * tokens as usize];
                prop_assert!(s.iter().all(|s| s.is_finite()) && s[3 * length as usize..].iter().all(|s| *s == 0.0));
            }
            if selection != Selection::Nearest {
                continue;
            }
            // The lists of `route` are those of `centroids`, which hold no such token.
            let update = centroids::Spec::new(3, tokens, 1, 8, 3)
                .with_norm(own.norm)
                .with_update(centroids::Update::Sums)
                .with_decay(0.5)
                .with_commitment(Some(1.0));
            let moved = |x: &[f32]| {
                let mut memory = vec![bytes(x), all[0].clone(), all[1].clone(), bytes(&centroids)];
                memory.extend(update.args()[4..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
                run_in_place(form, &update.into(), &mut memory);
                memory.split_off(3)
            };
            let other: Vec<f32> = x.iter().map(|x| if x.is_nan() { 7.0 } else { *x }).collect();
            let (a, b) = (moved(&x), moved(&other));
            prop_assert_eq!(&a, &b);
            prop_assert!(a.iter().flat_map(|bytes| floats(bytes)).all(f32::is_finite));
        }
    }
}

/// Routing 3: what the balanced selection lacks.
#[test]
fn route_balanced_depends_on_what_follows() {
    // Two tokens of which the second is nearer, and room for one.
    let spec = spec(2, 1, 1, Selection::Balanced);
    let axis = |i: usize| (0..8).map(|d| f32::from(d == i)).collect::<Vec<_>>();
    let member = |second: Vec<f32>| Lists::of(Form::Cpu, spec, &[axis(1), second].concat(), &axis(0)).list(0)[0].0;
    assert_eq!((member(axis(0)), member(axis(2))), (1, 0));
    // What the first token is given with it.
    let out = |second| attend(Form::Cpu, spec, &[axis(1), second].concat(), &axis(0), &[1.0; 16])[0];
    assert_eq!((out(axis(0)), out(axis(2))), (0.0, 1.0));
}

/// Routing 8.
#[test]
fn route_balanced_takes_every_token_once_where_clusters_are_balanced() {
    // Four axes with five tokens each, in turn.
    let axis = |i: usize, size: f32| (0..8).map(move |d| if d == i { size } else { 0.0 });
    let x: Vec<f32> = (0..20).flat_map(|t| axis(t % 4, 1.0 + t as f32)).collect();
    let centroids: Vec<f32> = (0..4).flat_map(|c| axis(c, 1.0)).collect();
    for form in FORMS {
        let lists = Lists::of(form, spec(20, 4, 5, Selection::Balanced), &x, &centroids);
        for c in 0..4 {
            assert_eq!(lists.at(c, 19), (0..5).map(|i| 4 * i + c as u32).collect::<Vec<_>>());
        }
    }
}
