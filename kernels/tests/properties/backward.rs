use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::attention::{Bias, HIDDEN, Packed, Spec};
use foveate_kernels::attention_backward;
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::plan::{Access, Arg};
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::u32_bytes;
use proptest::prelude::*;
use std::ops::Range;

/// What a forward pass is given, in the order of its arguments, and `dout`.
#[derive(Clone)]
struct Given {
    spec: Spec,
    args: Vec<Arg>,
    inputs: Vec<Vec<u8>>,
    dout: Vec<f32>,
}

impl Given {
    fn draw(spec: Spec, rng: &mut Rng) -> Self {
        let spec = spec.with_lse(true);
        let args = spec.args();
        let offsets = |rows: u32, rng: &mut Rng| {
            let mut all: Vec<u32> = (0..=spec.batch).map(|_| rng.below(rows + 1)).collect();
            all.sort_unstable();
            u32_bytes(&all)
        };
        let draw = |arg: &Arg| match arg.name {
            "lengths" => u32_bytes(&(0..spec.batch).map(|_| rng.below(spec.keys + 1)).collect::<Vec<_>>()),
            "cu_q" => offsets(spec.packed.map_or(0, |p| p.queries), rng),
            "cu_k" => offsets(spec.packed.map_or(0, |p| p.keys), rng),
            "bias" => {
                let hide = |bias: f32, n: u32| *[f32::NEG_INFINITY, HIDDEN].get(n as usize).unwrap_or(&bias);
                let values = rng.normals(arg.elements as usize, 1.0);
                bytes(&values.iter().map(|&bias| hide(bias, rng.below(16))).collect::<Vec<_>>())
            }
            _ => bytes(&rng.normals(arg.elements as usize, 1.0)),
        };
        let inputs = args.iter().filter(|arg| arg.access == Access::Read).map(draw).collect();
        let out = args.iter().find(|arg| arg.name == "out").expect("an output").elements;
        let dout = rng.normals(out as usize, 1.0);
        Self { spec, args, inputs, dout }
    }

    fn input(&self, name: &str) -> Option<usize> {
        self.args.iter().position(|arg| arg.name == name)
    }

    fn get(&self, name: &str) -> Vec<f32> {
        floats(&self.inputs[self.input(name).expect("an input")])
    }

    fn words(&self, name: &str) -> Vec<u32> {
        bytemuck::pod_collect_to_vec(&self.inputs[self.input(name).expect("an input")])
    }

    /// Packed, the rows of `q` and those of `k` that sequences have, sequence by sequence.
    fn rows(&self) -> Vec<[Range<usize>; 2]> {
        let part = |at: &[u32], most: u32| at[0] as usize..at[1].min(at[0] + most) as usize;
        let (cu_q, cu_k) = (self.words("cu_q"), self.words("cu_k"));
        let pairs = cu_q.windows(2).zip(cu_k.windows(2));
        pairs.map(|(q, k)| [part(q, self.spec.queries), part(k, self.spec.keys)]).collect()
    }

    fn set(&mut self, name: &str, values: &[f32]) {
        let index = self.input(name).expect("an input");
        self.inputs[index] = bytes(values);
    }

    /// Runs the forward pass; all of its arguments.
    fn attend(&self, form: Form) -> Vec<Vec<u8>> {
        let mut memory = self.inputs.clone();
        memory.extend(self.args[memory.len()..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
        run_in_place(form, &Op::from(self.spec), &mut memory);
        memory
    }

    /// `sum(out dout)`, added up in f64.
    fn loss(&self) -> f64 {
        let out = floats(&self.attend(Form::Reference)[self.inputs.len()]);
        // Rows that no sequence has are not written.
        out.iter().zip(&self.dout).filter(|(o, _)| !o.is_nan()).map(|(o, d)| f64::from(*o) * f64::from(*d)).sum()
    }

    /// `dq`, `dk`, `dv` and, with sinks and a bias, `dsinks` and `dbias`.
    fn gradients(&self, form: Form) -> Vec<Vec<f32>> {
        let op = Op::from(attention_backward::Spec::new(self.spec));
        let mut memory = self.attend(form);
        memory.push(bytes(&self.dout));
        let first = memory.len();
        memory.extend(op.kernel().args()[first..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
        run_in_place(form, &op, &mut memory);
        memory[first..].iter().map(|gradient| floats(gradient)).collect()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Zeros of either sign are one number.
fn unsigned_zeros(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| (v + 0.0).to_bits()).collect()
}

/// Sizes with grouped heads: batch, queries, keys, heads, kv_heads, dim, value_dim.
fn spec() -> impl Strategy<Value = Spec> {
    (1u32..3, 1u32..20, 1u32..40, 1u32..4, 1u32..3, 1u32..12, 1u32..12)
        .prop_map(|(b, t, s, grouped, g, d, v)| Spec::causal(b, t, s, grouped * g, g, d).with_value_dim(v))
}

/// With any of the options.
fn optioned() -> impl Strategy<Value = Spec> {
    (spec(), any::<[bool; 5]>(), proptest::option::of(1u32..30), any::<[bool; 3]>()).prop_map(
        |(spec, [causal, capped, alibi, sinks, lengths], window, [biased, batch, heads])| {
            let softcap = capped.then_some(1.5);
            let bias = biased.then_some(Bias { batch, heads });
            spec.with_causal(causal)
                .with_softcap(softcap)
                .with_alibi(alibi)
                .with_sinks(sinks)
                .with_lengths(lengths)
                .with_window(window)
                .with_bias(bias)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention_backward_is_the_slope_of_the_loss(
        spec in optioned(), packed in proptest::option::of((0u32..30, 0u32..60)), seed: u64,
    ) {
        let spec = spec.with_packed(packed.map(|(queries, keys)| Packed { queries, keys }));
        let mut rng = Rng::new(seed);
        let given = Given::draw(spec, &mut rng);
        let of = ["q", "k", "v", "sinks", "bias"].into_iter().filter(|name| given.input(name).is_some());
        for form in FORMS {
            for (name, gradient) in of.clone().zip(given.gradients(form)) {
                let at = given.get(name);
                let direction = rng.normals(at.len(), 1.0);
                let loss = |step: f32| {
                    let mut moved = given.clone();
                    let x: Vec<f32> = at.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                    moved.set(name, &x);
                    moved.loss()
                };
                // Central differences of the fourth order: what they leave out is some 1e-6 of a fifth derivative.
                let h = 1.0f32 / 32.0;
                let slope = (8.0 * (loss(h) - loss(-h)) - (loss(2.0 * h) - loss(-2.0 * h))) / (12.0 * f64::from(h));
                let wanted: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
                let size = direction.iter().zip(&gradient).map(|(d, g)| f64::from(d * g).powi(2)).sum::<f64>().sqrt();
                prop_assert!((slope - wanted).abs() <= 2e-3 * (1.0 + size), "d{} on {:?}: {} and {}", name, form, slope, wanted);
            }
        }
    }

    #[test]
    fn attention_backward_of_packed_sequences_is_that_of_each(
        spec in optioned(), rows in (0u32..40, 0u32..90), seed: u64,
    ) {
        let packed = Some(Packed { queries: rows.0, keys: rows.1 });
        let mut given = Given::draw(spec
            .with_packed(packed)
            .with_lengths(false)
            .with_batch(3 * spec.batch), &mut Rng::new(seed));
        let sequences = given.rows();
        let (q_row, k_row) = ((spec.heads * spec.dim) as usize, (spec.kv_heads * spec.dim) as usize);
        let (out_row, v_row) = ((spec.heads * spec.value_dim) as usize, (spec.kv_heads * spec.value_dim) as usize);
        // Where the biases of a sequence stand, in the order that they have without the others.
        let own = spec.bias;
        let (planes, t_len, s_len) = (if own.is_some_and(|own| own.heads) { spec.heads } else { 1 }, spec.queries, spec.keys);
        let biases = |b: usize, queries: &Range<usize>, keys: &Range<usize>| {
            let first = if own.is_some_and(|own| own.batch) { b * planes as usize } else { 0 };
            let (rows, keys) = (queries.len(), keys.len());
            let row = move |i: usize| ((first + i / rows) * t_len as usize + i % rows) * s_len as usize;
            (0..planes as usize * rows).flat_map(move |i| row(i)..row(i) + keys)
        };
        // What no sequence has is never read.
        let poisoned = |values: &[f32], row: usize, side: usize| {
            let mut all = vec![f32::NAN; values.len()];
            for at in sequences.iter().map(|rows| rows[side].start * row..rows[side].end * row) {
                all[at.clone()].copy_from_slice(&values[at]);
            }
            all
        };
        for (name, row, side) in [("q", q_row, 0), ("k", k_row, 1), ("v", v_row, 1)] {
            given.set(name, &poisoned(&given.get(name), row, side));
        }
        given.dout = poisoned(&given.dout, out_row, 0);
        for form in FORMS {
            let gradients = given.gradients(form);
            let mut wanted: Vec<Vec<f32>> = gradients.iter().map(|gradient| vec![0.0; gradient.len()]).collect();
            for (b, [queries, keys]) in sequences.iter().enumerate() {
                let part = |values: &[f32], at: &Range<usize>, row: usize| values[at.start * row..at.end * row].to_vec();
                let alone = given.spec
                    .with_packed(None)
                    .with_batch(1)
                    .with_queries(queries.len() as u32)
                    .with_keys(keys.len() as u32)
                    .with_bias(own.map(|own| Bias { batch: false, ..own }));
                let mut one = Given::draw(alone, &mut Rng::new(0));
                one.set("q", &part(&given.get("q"), queries, q_row));
                one.set("k", &part(&given.get("k"), keys, k_row));
                one.set("v", &part(&given.get("v"), keys, v_row));
                for name in ["sinks", "alibi"].into_iter().filter(|name| given.input(name).is_some()) {
                    one.set(name, &given.get(name));
                }
                if own.is_some() {
                    let bias = given.get("bias");
                    one.set("bias", &biases(b, queries, keys).map(|at| bias[at]).collect::<Vec<_>>());
                }
                one.dout = part(&given.dout, queries, out_row);
                let got = one.gradients(form);
                for (i, first) in [queries.start * q_row, keys.start * k_row, keys.start * v_row].into_iter().enumerate() {
                    wanted[i][first..first + got[i].len()].copy_from_slice(&got[i]);
                }
                if spec.sinks {
                    wanted[3].iter_mut().zip(&got[3]).for_each(|(sum, part)| *sum += part);
                }
                if own.is_some() {
                    let (dbias, parts) = (wanted.last_mut().expect("gradients"), got.last().expect("gradients"));
                    biases(b, queries, keys).zip(parts).for_each(|(at, part)| dbias[at] += part);
                }
            }
            for (gradient, wanted) in gradients.iter().zip(&wanted) {
                assert_close(gradient, wanted, 1e-4);
            }
        }
    }

    #[test]
    fn attention_backward_holds_any_offsets(offsets: [u32; 8], small: bool, seed: u64) {
        let offsets = offsets.map(|o| if small { o % 12 } else { o });
        let packed = Some(Packed { queries: 9, keys: 11 });
        let mut given = Given::draw(Spec::causal(3, 5, 7, 2, 1, 8)
            .with_packed(packed)
            .with_sinks(true), &mut Rng::new(seed));
        for (name, offsets) in [("cu_q", &offsets[..4]), ("cu_k", &offsets[4..])] {
            let index = given.input(name).expect("offsets");
            given.inputs[index] = u32_bytes(offsets);
        }
        for form in FORMS {
            prop_assert!(given.gradients(form).iter().flatten().all(|x| !x.is_nan()));
        }
    }

    #[test]
    fn attention_backward_of_grouped_heads_is_the_sum_of_repeated_keys(spec in spec(), seed: u64) {
        let given = Given::draw(spec, &mut Rng::new(seed));
        let (group, heads) = ((spec.heads / spec.kv_heads) as usize, spec.heads as usize);
        let mut repeated = Given { spec: given.spec.with_kv_heads(spec.heads), ..given.clone() };
        for (name, dim) in [("k", spec.dim), ("v", spec.value_dim)] {
            let rows: Vec<f32> = given.get(name).chunks(dim as usize).flat_map(|head| head.repeat(group)).collect();
            repeated.set(name, &rows);
        }
        for form in FORMS {
            let (few, many) = (given.gradients(form), repeated.gradients(form));
            assert_close(&few[0], &many[0], 1e-4);
            for (i, dim) in [(1, spec.dim as usize), (2, spec.value_dim as usize)] {
                let sums: Vec<f32> = many[i]
                    .chunks(group * dim)
                    .flat_map(|heads| (0..dim).map(|c| (0..group).map(|h| heads[h * dim + c]).sum::<f32>()))
                    .collect();
                assert_eq!(sums.len() * heads, many[i].len() * spec.kv_heads as usize);
                assert_close(&few[i], &sums, 1e-4);
            }
        }
    }

    /// A number added to all logits of a query and to its sink changes nothing: what the keys get adds up to what the sink
    /// gives.
    #[test]
    fn attention_backward_of_a_row_adds_up_to_nothing(spec in spec(), seed: u64, sinks: bool) {
        let spec = spec.with_batch(1).with_queries(1).with_kv_heads(spec.heads).with_sinks(sinks);
        let given = Given::draw(spec, &mut Rng::new(seed));
        let row = (spec.heads * spec.dim) as usize;
        let q = given.get("q");
        for form in FORMS {
            let gradients = given.gradients(form);
            let sums: Vec<f32> = (0..row).map(|c| gradients[1].chunks(row).map(|dk| dk[c]).sum()).collect();
            let dsink = |c: usize| gradients.get(3).map_or(0.0, |d| d[c / spec.dim as usize]);
            let of_sinks: Vec<f32> = (0..row).map(|c| -spec.scale * dsink(c) * q[c]).collect();
            assert_close(&sums, &of_sinks, 1e-4);
        }
    }

    #[test]
    fn attention_backward_does_not_see_the_future(spec in spec(), seed: u64, cut in 0f32..1.0, window in 1u32..50) {
        let spec = spec.with_window((window < 40).then_some(window));
        let mut rng = Rng::new(seed);
        let given = Given::draw(spec, &mut rng);
        // Keys from `first` on change, and queries that stand before it.
        let first = (cut * spec.keys as f32) as i64;
        let mut keys = given.clone();
        for name in ["k", "v"] {
            let mut rows = given.get(name);
            let width = rows.len() / (spec.batch * spec.keys) as usize;
            for (j, row) in rows.chunks_mut(width).enumerate().filter(|(j, _)| (j % spec.keys as usize) as i64 >= first) {
                row.copy_from_slice(&rng.normals(row.len(), 1.0 + j as f32 / 99.0));
            }
            keys.set(name, &rows);
        }
        let position = |row: usize| (row % spec.queries as usize) as i64 + i64::from(spec.keys) - i64::from(spec.queries);
        let before = |row: usize| position(row) < first;
        let mut queries = given.clone();
        let mut q = given.get("q");
        let (q_row, dout_row) = ((spec.heads * spec.dim) as usize, (spec.heads * spec.value_dim) as usize);
        for row in (0..(spec.batch * spec.queries) as usize).filter(|row| before(*row)) {
            q[row * q_row..][..q_row].copy_from_slice(&rng.normals(q_row, 2.0));
            queries.dout[row * dout_row..][..dout_row].copy_from_slice(&rng.normals(dout_row, 2.0));
        }
        queries.set("q", &q);
        for form in FORMS {
            let (as_given, with_keys, with_queries) = (given.gradients(form), keys.gradients(form), queries.gradients(form));
            for (row, (a, b)) in as_given[0].chunks(q_row).zip(with_keys[0].chunks(q_row)).enumerate() {
                if before(row) {
                    prop_assert_eq!(unsigned_zeros(a), unsigned_zeros(b));
                }
            }
            for i in [1, 2] {
                let width = as_given[i].len() / (spec.batch * spec.keys) as usize;
                for (j, (a, b)) in as_given[i].chunks(width).zip(with_queries[i].chunks(width)).enumerate() {
                    let j = (j % spec.keys as usize) as i64;
                    if j >= first {
                        prop_assert_eq!(unsigned_zeros(a), unsigned_zeros(b));
                    }
                    // A key behind the window of the first query, or behind the last position, is seen by none.
                    let gone = spec.window.is_some_and(|w| position(0) - j >= i64::from(w));
                    prop_assert!(!gone || a.iter().all(|x| *x == 0.0));
                }
            }
        }
    }

    #[test]
    fn attention_backward_never_reads_behind_a_length(spec in optioned(), seed: u64) {
        let given = Given::draw(spec.with_lengths(true), &mut Rng::new(seed));
        let lengths = given.words("lengths");
        let behind = |row: usize| row as u32 % spec.keys >= lengths[row / spec.keys as usize];
        let mut poisoned = given.clone();
        for name in ["k", "v"] {
            let mut rows = given.get(name);
            let width = rows.len() / (spec.batch * spec.keys) as usize;
            rows.chunks_mut(width).enumerate().filter(|(row, _)| behind(*row)).for_each(|(_, row)| row.fill(f32::NAN));
            poisoned.set(name, &rows);
        }
        for form in FORMS {
            let (a, b) = (given.gradients(form), poisoned.gradients(form));
            for (a, b) in a.iter().zip(&b) {
                prop_assert_eq!(bits(a), bits(b));
            }
            for gradient in &a[1..3] {
                let width = gradient.len() / (spec.batch * spec.keys) as usize;
                for (row, values) in gradient.chunks(width).enumerate() {
                    prop_assert!(!behind(row) || values.iter().all(|x| *x == 0.0));
                }
            }
        }
    }
}

#[test]
fn attention_backward_of_queries_without_keys_is_zero() {
    for sinks in [false, true] {
        let given = Given::draw(Spec::causal(1, 5, 2, 2, 1, 8).with_sinks(sinks), &mut Rng::new(1));
        for form in FORMS {
            let gradients = given.gradients(form);
            assert!(gradients.iter().flatten().all(|x| x.is_finite()));
            assert!(gradients[0][..3 * 16].iter().all(|x| *x == 0.0));
            assert!(gradients[0][4 * 16..].iter().all(|x| *x != 0.0));
        }
    }
}

#[test]
fn attention_backward_of_large_logits_is_finite() {
    let mut given = Given::draw(Spec::causal(1, 9, 20, 2, 1, 16).with_sinks(true), &mut Rng::new(2));
    let large: Vec<f32> = given.get("q").iter().map(|x| 1e4 * x).collect();
    given.set("q", &large);
    for form in FORMS {
        assert!(given.gradients(form).iter().flatten().all(|x| x.is_finite()));
    }
}

#[test]
fn attention_backward_refuses_what_it_has_no_gradient_of() {
    use foveate_kernels::attention::Pages;
    use foveate_kernels::dtype::DType;
    use foveate_kernels::error::Error;
    let spec = Spec::causal(1, 2, 16, 1, 1, 8);
    let refused = [spec.with_paged(Some(Pages { pages: 1, page: 16, width: 1 })), spec.with_kv(DType::F16)];
    for forward in refused {
        let error = attention_backward::Spec::new(forward).validate();
        assert!(matches!(error, Err(Error::Unsupported { op: attention_backward::NAME, .. })), "{forward:?}");
    }
    let wrong = attention_backward::Spec::new(spec.with_window(Some(0)));
    assert!(matches!(wrong.validate(), Err(Error::Shape { op: attention_backward::NAME, arg: "window", .. })));
}
