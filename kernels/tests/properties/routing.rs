use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::attention;
use foveate_kernels::cases::{Rng, u32_bytes};
use foveate_kernels::op::{Access, Kernel, Op};
use foveate_kernels::route::{self, NO_MEMBER, Norm, Selection};
use foveate_kernels::route_step;
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
        offset: false,
        paged: None,
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

    #[test]
    fn selected_attention_of_a_sequence_does_not_know_the_others(tokens in 1u32..50, window in 1u32..12, seed: u64) {
        let mut rng = Rng::new(seed);
        let n = 8 * tokens as usize;
        let (x, centroids, v) = (rng.normals(3 * n, 1.0), rng.normals(24, 1.0), rng.normals(3 * n, 1.0));
        for selection in [Selection::Balanced, Selection::Prefix, Selection::Nearest] {
            let one = spec(tokens, 3, window, selection);
            let all = attend(Form::Cpu, route::Spec { batch: 3, ..one }, &x, &centroids, &v);
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
        let forward = selected_attention::Spec {
            batch: 2, tokens: 11, heads: 2, dim: 5, value_dim: 3, clusters: 3, entries: 15, keys: keys[kind], scale: 0.4,
            causal: true, expires: false, offset: false,
        paged: None, own: own[kind], memory: if kind == 2 { 2 } else { 0 },
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

/// A routing cache, and what its steps attend to.
struct Cache {
    form: Form,
    route: route::Spec,
    centroids: Vec<f32>,
    seen: u32,
    state: Vec<u8>,
}

impl Cache {
    fn new(form: Form, route: route::Spec, centroids: &[f32]) -> Self {
        let words = route.heads * route.clusters * route_step::Spec { route }.state();
        Self { form, route, centroids: centroids.to_vec(), seen: 0, state: vec![0; 4 * words as usize] }
    }

    /// Takes in `tokens` of `x`, which then attend to all that came before with the values `v`.
    fn step(&mut self, tokens: u32, x: &[f32], v: &[f32]) -> Vec<f32> {
        let width = (self.route.heads * self.route.dim) as usize;
        let own = &x[self.seen as usize * width..][..tokens as usize * width];
        let spec = route_step::Spec { route: route::Spec { tokens, ..self.route } };
        let first = u32_bytes(&[self.seen]);
        let mut memory = vec![bytes(own), bytes(&self.centroids), first.clone(), self.state.clone()];
        memory.extend(spec.args()[4..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
        run_in_place(self.form, &spec.into(), &mut memory);
        let lists = memory.split_off(4);
        self.state = memory.remove(3);
        self.seen += tokens;
        let [entries, key_entries] = spec.entries().expect("few places");
        let attend = selected_attention::Spec {
            tokens,
            entries,
            keys: Keys::Separate { tokens: self.seen, entries: key_entries },
            expires: true,
            offset: true,
            ..attending(&spec.route)
        };
        let (keys, values) = (&x[..self.seen as usize * width], &v[..self.seen as usize * width]);
        let inputs = [vec![bytes(own), bytes(keys), bytes(values)], lists.clone(), vec![first.clone()]].concat();
        let out = floats(&outputs(self.form, attend, &inputs)[0]);
        // The same where keys lie in pages, the last token in the first.
        let pages = self.seen.div_ceil(4);
        let paged = |rows: &[f32]| {
            let mut rows = rows.to_vec();
            rows.resize(4 * pages as usize * width, f32::NAN);
            bytes(&rows.chunks_exact(4 * width).rev().flatten().copied().collect::<Vec<_>>())
        };
        let attend =
            selected_attention::Spec { paged: Some(attention::Pages { pages, page: 4, width: pages }), ..attend };
        let table = u32_bytes(&(0..pages).rev().collect::<Vec<_>>());
        let inputs = [vec![bytes(own), paged(keys), paged(values)], lists, vec![first, table]].concat();
        assert_eq!(floats(&outputs(self.form, attend, &inputs)[0]), out);
        out
    }

    /// The positions that centroid `c` of the first head has.
    fn at(&self, c: usize) -> Vec<u32> {
        let words = route_step::Spec { route: self.route }.state() as usize;
        let state: Vec<u32> = bytemuck::pod_collect_to_vec(&self.state[4 * c * words..][..4 * words]);
        state[1..1 + state[0] as usize].to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn route_step_has_what_the_whole_prefix_has_at_every_step(
        tokens in 1u32..60, clusters in 1u32..6, window in 1u32..12, norm in 0usize..3, seed: u64,
    ) {
        let mut rng = Rng::new(seed);
        let norm = [Norm::None, Norm::L2, Norm::Layer][norm];
        let n = 8 * tokens as usize;
        let (mut x, centroids, v) = (rng.normals(n, 1.0), rng.normals(8 * clusters as usize, 1.0), rng.normals(n, 1.0));
        // Some tokens come twice.
        (3..tokens as usize).step_by(4).for_each(|t| x.copy_within(8 * (t / 2)..8 * (t / 2 + 1), 8 * t));
        for (selection, form) in CAUSAL.into_iter().flat_map(|s| FORMS.map(|form| (s, form))) {
            let whole = route::Spec { norm, ..spec(tokens, clusters, window, selection) };
            let lists = Lists::of(Form::Reference, whole, &x, &centroids);
            let want = attend(Form::Reference, whole, &x, &centroids, &v);
            let mut cache = Cache::new(form, whole, &centroids);
            let mut steps = rng.clone();
            let mut out = Vec::new();
            while cache.seen < tokens {
                // Mostly one token, sometimes many.
                let many = if steps.below(3) == 0 { 1 + steps.below(20) } else { 1 };
                out.extend(cache.step(many.min(tokens - cache.seen), &x, &v));
                for c in 0..clusters as usize {
                    prop_assert_eq!(cache.at(c), lists.at(c, cache.seen - 1));
                }
            }
            assert_close(&out, &want, 1e-5);
        }
    }

    #[test]
    fn route_step_goes_on_from_a_copy_as_from_the_cache(tokens in 2u32..40, at in 1u32..40, seed: u64) {
        let mut rng = Rng::new(seed);
        let (n, at) = (8 * tokens as usize, at.min(tokens - 1));
        let (x, other) = (rng.normals(n, 1.0), rng.normals(n, 1.0));
        let (centroids, v) = (rng.normals(24, 1.0), rng.normals(n, 1.0));
        for selection in CAUSAL {
            let mut cache = Cache::new(Form::Cpu, spec(tokens, 3, 4, selection), &centroids);
            cache.step(at, &x, &v);
            let (saved, seen) = (cache.state.clone(), cache.seen);
            let want = cache.step(tokens - at, &x, &v);
            // Another continuation, then back.
            let mixed = [&x[..8 * at as usize], &other[8 * at as usize..]].concat();
            (cache.state, cache.seen) = (saved.clone(), seen);
            cache.step(tokens - at, &mixed, &v);
            (cache.state, cache.seen) = (saved.clone(), seen);
            prop_assert_eq!(&cache.step(tokens - at, &x, &v), &want);
            // A step over all tokens from zeros is the same state.
            let mut again = Cache::new(Form::Cpu, cache.route, &centroids);
            again.step(at, &x, &v);
            let (a, b): (Vec<_>, Vec<_>) = (0..3).map(|c| { cache.state = saved.clone(); (again.at(c), cache.at(c)) }).unzip();
            prop_assert_eq!(a, b);
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

#[test]
fn selected_attention_of_one_list_with_an_eps_is_that_much_less() {
    let mut rng = Rng::new(2);
    let (x, centroids, v) = (rng.normals(80, 1.0), rng.normals(8, 1.0), rng.normals(80, 1.0));
    let route = spec(10, 1, 10, Selection::Balanced);
    let Lists([members, ranges, _]) = Lists::of(Form::Cpu, route, &x, &centroids);
    let inputs = [bytes(&x), bytes(&v), u32_bytes(&members), u32_bytes(&ranges)];
    // The eps of Google's code.
    let [want, out] = [0.0, 1e-2].map(|eps| {
        let spec = selected_attention::Spec { combine: Combine::Mean { eps }, ..attending(&route) };
        floats(&outputs(Form::Cpu, spec, &inputs)[0])
    });
    assert_close(&out, &want.iter().map(|x| x / 1.01).collect::<Vec<_>>(), 1e-6);
}

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

#[test]
fn route_refuses_what_means_nothing_and_takes_centroids_that_are_no_numbers() {
    let own = spec(9, 3, 4, Selection::Prefix);
    for bad in [
        route::Spec { clusters: 0, ..own },
        route::Spec { window: 0, ..own },
        route::Spec { dim: 0, ..own },
        route::Spec { dim: 257, ..own },
        route::Spec { tokens: u32::MAX, ..own },
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
        assert!(route_step::Spec { route: bad }.validate().is_err(), "{bad:?}");
    }
    let steps = [
        route::Spec { selection: Selection::Balanced, ..own },
        route::Spec { scores: true, ..own },
        route::Spec { tokens: 0, ..own },
        route::Spec { window: u32::MAX, ..own },
    ];
    for route in steps {
        assert!(route_step::Spec { route }.validate().is_err(), "{route:?}");
    }
    let offset = selected_attention::Spec { offset: true, ..attending(&own) };
    assert!(offset.validate().is_err(), "shared keys have no offset");
    let pages = attention::Pages { pages: 3, page: 4, width: 3 };
    let separate = selected_attention::Spec {
        keys: Keys::Separate { tokens: 9, entries: 12 },
        paged: Some(pages),
        ..attending(&own)
    };
    separate.validate().expect("keys in pages");
    for bad in [
        selected_attention::Spec { keys: Keys::Shared { normalize: false }, ..separate },
        selected_attention::Spec { memory: 1, ..separate },
        selected_attention::Spec { paged: Some(attention::Pages { page: 3, ..pages }), ..separate },
        selected_attention::Spec { paged: Some(attention::Pages { pages: 0, ..pages }), ..separate },
        selected_attention::Spec { paged: Some(attention::Pages { width: 2, ..pages }), ..separate },
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
    assert!(selected_attention_backward::Spec { forward: separate }.validate().is_err(), "pages have no gradients");
    // A score of nothing is 0: every token ties, and the earlier win.
    let x = Rng::new(1).normals(72, 1.0);
    for form in FORMS {
        let lists = Lists::of(form, own, &x, &[f32::NAN; 24]);
        assert!((0..3).all(|c| lists.at(c, 8) == [0, 1, 2, 3]));
        // A window above the tokens is all of them.
        let wide = Lists::of(form, route::Spec { window: 1 << 30, ..own }, &x, &[1.0; 24]);
        assert!((0..3).all(|c| wide.at(c, 8).len() == 9));
    }
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
