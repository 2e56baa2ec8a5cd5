//! A routing cache against the whole prefix.

use super::*;

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
        let words = route.heads * route.clusters * route_step::Spec::new(route).state();
        Self { form, route, centroids: centroids.to_vec(), seen: 0, state: vec![0; 4 * words as usize] }
    }

    /// Takes in `tokens` of `x`, which then attend to all that came before with the values `v`.
    fn step(&mut self, tokens: u32, x: &[f32], v: &[f32]) -> Vec<f32> {
        let width = (self.route.heads * self.route.dim) as usize;
        let own = &x[self.seen as usize * width..][..tokens as usize * width];
        let spec = route_step::Spec::new(self.route.with_tokens(tokens));
        let first = u32_bytes(&[self.seen]);
        let mut memory = vec![bytes(own), bytes(&self.centroids), first.clone(), self.state.clone()];
        memory.extend(spec.args()[4..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
        run_in_place(self.form, &spec.into(), &mut memory);
        let lists = memory.split_off(4);
        self.state = memory.remove(3);
        self.seen += tokens;
        let [entries, key_entries] = spec.entries().expect("few places");
        let attend = attending(&spec.route)
            .with_tokens(tokens)
            .with_entries(entries)
            .with_keys(Keys::Separate { tokens: self.seen, entries: key_entries })
            .with_expires(true)
            .with_offset(true);
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
        let attend = attend.with_paged(Some(attention::Pages { pages, page: 4, width: pages }));
        let table = u32_bytes(&(0..pages).rev().collect::<Vec<_>>());
        let inputs = [vec![bytes(own), paged(keys), paged(values)], lists, vec![first, table]].concat();
        assert_eq!(floats(&outputs(self.form, attend, &inputs)[0]), out);
        out
    }

    /// The positions that centroid `c` of the first head has.
    fn at(&self, c: usize) -> Vec<u32> {
        let words = route_step::Spec::new(self.route).state() as usize;
        let state: Vec<u32> = bytemuck::pod_collect_to_vec(&self.state[4 * c * words..][..4 * words]);
        state[1..1 + state[0] as usize].to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Routing 2.
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
            let whole = spec(tokens, clusters, window, selection).with_norm(norm);
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
