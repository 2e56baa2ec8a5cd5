use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::attention;
use foveate_kernels::cases::{Rng, u32_bytes};
use foveate_kernels::op::{Access, Kernel, Op};
use foveate_kernels::route::{self, NO_MEMBER, Norm, Selection};
use foveate_kernels::selected_attention::{self, Combine, Keys, NO_KEYS, Own, check_lists};
use foveate_kernels::selected_attention_backward;
use proptest::prelude::*;

const CAUSAL: [Selection; 2] = [Selection::Prefix, Selection::Nearest];

fn spec(tokens: u32, clusters: u32, window: u32, selection: Selection) -> route::Spec {
    route::Spec { batch: 1, tokens, heads: 1, dim: 8, clusters, window, norm: Norm::L2, selection, scores: false }
}

/// What an op writes, from its inputs in order.
fn outputs(form: Form, op: impl Into<Op>, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let op = op.into();
    let mut memory = inputs.to_vec();
    memory.extend(op.kernel().args()[inputs.len()..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
    run_in_place(form, &op, &mut memory);
    memory.split_off(inputs.len())
}

/// `members`, `ranges` and `until` (of a balanced selection, that nobody leaves).
#[derive(Clone, PartialEq, Debug)]
struct Lists([Vec<u32>; 3]);

impl Lists {
    fn of(form: Form, spec: route::Spec, x: &[f32], centroids: &[f32]) -> Self {
        let mut all =
            outputs(form, spec, &[bytes(x), bytes(centroids)]).into_iter().map(|b| bytemuck::pod_collect_to_vec(&b));
        let mut next = || all.next().unwrap_or_default();
        let (members, ranges) = (next(), next());
        let until = if spec.expires() { next() } else { vec![spec.tokens; members.len()] };
        Self([members, ranges, until])
    }

    /// `(member, until)` of list `c` of the first head.
    fn list(&self, c: usize) -> Vec<(u32, u32)> {
        let [members, ranges, until] = &self.0;
        (ranges[2 * c] as usize..ranges[2 * c + 1] as usize).map(|i| (members[i], until[i])).collect()
    }

    /// The members that `c` has at a time.
    fn at(&self, c: usize, time: u32) -> Vec<u32> {
        self.list(c).into_iter().filter(|&(m, until)| m <= time && until > time).map(|(m, _)| m).collect()
    }
}

fn attending(route: &route::Spec) -> selected_attention::Spec {
    selected_attention::Spec {
        batch: route.batch,
        tokens: route.tokens,
        heads: route.heads,
        dim: route.dim,
        value_dim: route.dim,
        clusters: route.clusters,
        entries: route.entries().expect("few places"),
        keys: Keys::Shared { normalize: false },
        scale: 0.35,
        causal: true,
        expires: route.expires(),
        own: Own::Included,
        memory: 0,
        combine: Combine::Mean { eps: 0.0 },
        save: false,
    }
}

/// Routes `x`, and attends it to itself with the values `v`.
fn attend(form: Form, route: route::Spec, x: &[f32], centroids: &[f32], v: &[f32]) -> Vec<f32> {
    let Lists([members, ranges, until]) = Lists::of(form, route, x, centroids);
    let mut inputs = vec![bytes(x), bytes(v), u32_bytes(&members), u32_bytes(&ranges)];
    if route.expires() {
        inputs.push(u32_bytes(&until));
    }
    floats(&outputs(form, attending(&route), &inputs)[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn route_lists_are_ascending_and_as_long_as_they_should_be(
        tokens in 1u32..90, clusters in 1u32..9, window in 1u32..40, seed: u64,
    ) {
        let mut rng = Rng::new(seed);
        for selection in [Selection::Balanced, Selection::Prefix, Selection::Nearest] {
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

    #[test]
    fn route_is_the_same_of_scaled_tokens_and_of_permuted_centroids(tokens in 1u32..60, window in 1u32..20, seed: u64) {
        let mut rng = Rng::new(seed);
        let (x, centroids) = (rng.normals(8 * tokens as usize, 1.0), rng.normals(8 * 4, 1.0));
        let scaled: Vec<f32> = x.chunks(8).flat_map(|row| row.iter().map(|x| x * 64.0)).collect();
        let turned: Vec<f32> = centroids.chunks(8).rev().flatten().copied().collect();
        for selection in [Selection::Balanced, Selection::Prefix, Selection::Nearest] {
            let spec = spec(tokens, 4, window, selection);
            let lists = Lists::of(Form::Cpu, spec, &x, &centroids);
            prop_assert_eq!(&lists, &Lists::of(Form::Cpu, spec, &scaled, &centroids));
            let turned = Lists::of(Form::Cpu, spec, &x, &turned);
            prop_assert!((0..4).all(|c| lists.list(c) == turned.list(3 - c)));
        }
    }

    #[test]
    fn selected_attention_of_one_list_is_full_attention(tokens in 1u32..150, causal: bool, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(n, 1.0), rng.normals(8, 1.0), rng.normals(n, 1.0));
        let full = attention::Spec { scale: 0.35, causal, ..attention::Spec::causal(1, tokens, tokens, 1, 1, 8) };
        let want = floats(&outputs(Form::Reference, full, &[bytes(&x), bytes(&x), bytes(&v)])[0]);
        let route = spec(tokens, 1, tokens + 3, Selection::Balanced);
        let Lists([members, ranges, _]) = Lists::of(Form::Cpu, route, &x, &centroids);
        for combine in [Combine::Mean { eps: 0.0 }, Combine::Weighted] {
            let spec = selected_attention::Spec { causal, combine, ..attending(&route) };
            let inputs = [bytes(&x), bytes(&v), u32_bytes(&members), u32_bytes(&ranges)];
            FORMS.iter().for_each(|&form| assert_close(&floats(&outputs(form, spec, &inputs)[0]), &want, 1e-5));
        }
    }

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

    #[test]
    fn selected_attention_backward_is_the_slope_of_the_loss(seed: u64, weighted: bool, kind in 0usize..3) {
        let mut rng = Rng::new(seed);
        let keys = [Keys::Shared { normalize: true }, Keys::Shared { normalize: false }, Keys::Separate { tokens: 9, entries: 14 }];
        let own = [Own::Included, Own::LastResort(-5e4), Own::Excluded];
        let forward = selected_attention::Spec {
            batch: 2, tokens: 11, heads: 2, dim: 5, value_dim: 3, clusters: 3, entries: 15, keys: keys[kind], scale: 0.4,
            causal: true, expires: false, own: own[kind], memory: if kind == 2 { 2 } else { 0 },
            combine: if weighted { Combine::Weighted } else { Combine::Mean { eps: 0.5 } }, save: true,
        };
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
        let backward = selected_attention_backward::Spec { forward };
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

#[test]
fn route_balanced_depends_on_what_follows() {
    // Two tokens of which the second is nearer, and room for one.
    let spec = spec(2, 1, 1, Selection::Balanced);
    let axis = |i: usize| (0..8).map(|d| f32::from(d == i)).collect::<Vec<_>>();
    let member = |second: Vec<f32>| Lists::of(Form::Cpu, spec, &[axis(1), second].concat(), &axis(0)).list(0)[0].0;
    assert_eq!((member(axis(0)), member(axis(2))), (1, 0));
}

#[test]
fn selected_attention_refuses_lists_that_mean_nothing() {
    for (members, ranges) in [
        (vec![0, 1, 2, 3], vec![0, 2, 2, 5]),
        (vec![0, 1, 2, 3], vec![2, 0, 2, 4]),
        (vec![0, 1, 2, 3], vec![0, 3, 2, 4]),
        (vec![0, 0, 2, 3], vec![0, 2, 2, 4]),
        (vec![1, 0, 2, 3], vec![0, 2, 2, 4]),
        (vec![0, 1, 2, 9], vec![0, 2, 2, 4]),
        (vec![0, 1, 2], vec![0, 2, 2, 3]),
    ] {
        assert!(check_lists(&members, &ranges, 2, 4, 9).is_err(), "{members:?} {ranges:?}");
    }
    check_lists(&[0, 8, 2, 3], &[0, 2, 2, 4], 2, 4, 9).expect("good lists");
    assert_eq!(NO_KEYS, attention::NO_KEYS);
}
