//! What the delta rule does with tokens and states. Numbers count what the family promises: 1 to 15 and 17 to 19 are here
//! and in `delta_algebra`, 16 in `delta_backward`, 20 in `conv`, 21 is that of whole models (`core/tests`).

use crate::{FORMS, Form, run_in_place};
use foveate_kernels::delta::{Gate, Spec};
use foveate_kernels::error::Error;
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::{Tolerance, compare};
use foveate_kernels::testing::{f32_bytes, u32_bytes};
use proptest::prelude::*;

/// Operands by name.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) spec: Spec,
    memory: Vec<Vec<u8>>,
}

impl Run {
    pub(crate) fn new(spec: Spec, seed: u64) -> Self {
        Self { spec, memory: spec.inputs(&mut Rng::new(seed)) }
    }

    /// Another spec with the operands of the same names and `with` among them.
    pub(crate) fn with(&self, spec: Spec, with: &[(&str, &[f32])]) -> Self {
        let mut new = Run::new(spec, 1);
        for (arg, memory) in spec.args().iter().zip(&mut new.memory) {
            if let Some((_, values)) = with.iter().find(|(name, _)| *name == arg.name) {
                *memory = f32_bytes(values);
            } else if let Some(i) = self.spec.args().iter().position(|a| a.name == arg.name && a.shape == arg.shape) {
                memory.clone_from(&self.memory[i]);
            }
        }
        new
    }

    fn at(&self, name: &str) -> usize {
        self.spec.args().iter().position(|arg| arg.name == name).expect("an argument")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.spec.args().iter().any(|arg| arg.name == name)
    }

    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&self.memory[self.at(name)])
    }

    pub(crate) fn set(&mut self, name: &str, values: &[f32]) {
        let at = self.at(name);
        self.memory[at] = f32_bytes(values);
    }

    pub(crate) fn change(&mut self, name: &str, f: impl FnMut((usize, &mut f32))) {
        let mut values = self.f32(name);
        values.iter_mut().enumerate().for_each(f);
        self.set(name, &values);
    }

    pub(crate) fn run(mut self, form: Form) -> Self {
        run_in_place(form, &Op::from(self.spec), &mut self.memory);
        self
    }

    /// Tokens `from..to` of every tensor that has tokens, of one sequence.
    fn part(&self, from: u32, to: u32, state0: Option<&[f32]>) -> Self {
        let spec = self.spec.with_tokens(to - from).with_initial(state0.is_some() || self.spec.initial);
        let mut part = Run::new(spec, 1);
        let tokens = self.spec.tokens as usize;
        for (memory, arg) in part.memory.iter_mut().zip(spec.args()) {
            if arg.name == "state0" {
                *memory = state0.map_or_else(|| self.memory[self.at("state0")].clone(), f32_bytes);
            } else if arg.shape.len() > 1 && !["out", "state"].contains(&arg.name) {
                let bytes = &self.memory[self.at(arg.name)];
                let row = bytes.len() / tokens;
                *memory = bytes[from as usize * row..to as usize * row].to_vec();
            }
        }
        part
    }
}

#[track_caller]
pub(crate) fn close(got: &[f32], want: &[f32]) {
    let found = compare(got, want, Tolerance::EXECUTOR);
    assert!(found.within, "{found}");
}

pub(crate) fn gate() -> impl Strategy<Value = Gate> {
    let gates = [Gate::None, Gate::Head, Gate::Channel, Gate::EraseWrite, Gate::RankOne];
    prop::sample::select(gates.to_vec())
}

pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    (1u32..90, 1u32..3, 1u32..4, 1u32..40, 1u32..70, gate(), any::<bool>(), any::<bool>(), chunk()).prop_map(
        |(tokens, heads, group, key_dim, value_dim, gate, normalize, initial, chunk)| {
            Spec::new(1, tokens, heads, key_dim, value_dim)
                .with_value_heads(heads * group)
                .with_gate(gate)
                .with_normalize(normalize)
                .with_initial(initial)
                .with_last(true)
                .with_chunk(chunk)
        },
    )
}

fn chunk() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), Just(Some(1)), Just(Some(16)), Just(Some(32)), (2u32..65).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// (2) A run may be cut at any token, also inside of a chunk.
    #[test]
    fn delta_cut_anywhere_is_one_run(spec in spec(), seed: u64, cut in 0f32..1.0) {
        for form in FORMS {
            let whole = Run::new(spec, seed);
            let cut = (cut * spec.tokens as f32) as u32;
            let first = whole.part(0, cut, None).run(form);
            let second = whole.part(cut, spec.tokens, Some(&first.f32("state"))).run(form);
            let whole = whole.run(form);
            close(&[first.f32("out"), second.f32("out")].concat(), &whole.f32("out"));
            close(&second.f32("state"), &whole.f32("state"));
            // Token by token the same numbers are added up in the same order.
            if form == Form::Cpu && spec.chunk == Some(1) {
                prop_assert_eq!(second.f32("state"), whole.f32("state"));
            }
        }
    }

    /// (1) Chunks of any size.
    #[test]
    fn delta_in_chunks_of_any_size_is_that_token_by_token(spec in spec(), seed: u64, chunk in 2u32..65) {
        let [steps, chunks] = [1, chunk].map(|chunk| {
            Run::new(spec.with_chunk(Some(chunk)), seed).run(Form::Cpu)
        });
        close(&chunks.f32("out"), &steps.f32("out"));
        close(&chunks.f32("state"), &steps.f32("state"));
    }

    /// (6) All that values and states give is a sum.
    #[test]
    fn delta_is_linear_in_values_and_states(spec in spec(), seed: u64) {
        let spec = spec.with_initial(true);
        for form in FORMS {
            let [one, other] = [seed, seed ^ 1].map(|seed| Run::new(spec, seed));
            let mut sum = one.clone();
            let mut second = one.clone();
            for name in ["v", "state0"] {
                let of_other = other.f32(name);
                second.set(name, &of_other);
                sum.change(name, |(i, x)| *x = 2.0 * *x - of_other[i]);
            }
            let [one, second, sum] = [one, second, sum].map(|run| run.run(form));
            for name in ["out", "state"] {
                let want: Vec<f32> =
                    one.f32(name).iter().zip(second.f32(name)).map(|(one, other)| 2.0 * one - other).collect();
                close(&sum.f32(name), &want);
            }
        }
    }

    /// (14) Tokens with `k`, `beta` and `g` of 0 write nothing, wherever they stand.
    #[test]
    fn delta_does_not_see_tokens_of_nothing(spec in spec(), seed: u64, at in 0f32..1.0) {
        let spec = spec.with_gate(Gate::Head);
        let at = (at * spec.tokens as f32) as usize;
        for form in FORMS {
            let mut run = Run::new(spec, seed);
            for name in ["k", "beta", "g"] {
                let row = run.f32(name).len() / spec.tokens as usize;
                run.change(name, |(i, x)| if i / row == at { *x = 0.0 });
            }
            let without = Run::new(spec.with_tokens(spec.tokens - 1), seed);
            let values = ["q", "k", "v", "beta", "g"].map(|name| {
                let (all, row) = (run.f32(name), run.f32(name).len() / spec.tokens as usize);
                (name, [&all[..at * row], &all[(at + 1) * row..]].concat())
            });
            let mut without = without.with(without.spec, &values.each_ref().map(|(name, x)| (*name, &x[..])));
            if spec.initial {
                without.set("state0", &run.f32("state0"));
            }
            let (mut out, row) = (run.clone().run(form).f32("out"), (spec.value_heads * spec.value_dim) as usize);
            let state = run.run(form).f32("state");
            out.drain(at * row..(at + 1) * row);
            let without = without.run(form);
            close(&out, &without.f32("out"));
            close(&state, &without.f32("state"));
        }
    }

    /// (13) Also sequences of no token and of one.
    #[test]
    fn delta_of_packed_sequences_is_that_of_each(spec in spec(), seed: u64, sequences in 1u32..5) {
        // Which form is chosen depends on the length of sequences.
        let spec = spec.with_packed(Some(sequences)).with_initial(true).with_chunk(spec.chunk.or(Some(16)));
        for form in FORMS {
            let packed = Run::new(spec, seed).run(form);
            let cu: Vec<u32> = bytemuck::pod_collect_to_vec(&packed.memory[packed.at("cu")]);
            let (states, ends) = (packed.f32("state0"), packed.f32("state"));
            let size = ends.len() / sequences as usize;
            let row = (spec.value_heads * spec.value_dim) as usize;
            let mut out = vec![0.0; packed.f32("out").len()];
            let alone = packed.with(spec.with_packed(None), &[("state0", &states[..size])]);
            for n in 0..sequences as usize {
                let part = alone.part(cu[n], cu[n + 1], Some(&states[n * size..][..size])).run(form);
                out[cu[n] as usize * row..cu[n + 1] as usize * row].copy_from_slice(&part.f32("out"));
                prop_assert_eq!(&part.f32("state"), &ends[n * size..][..size]);
            }
            prop_assert_eq!(&packed.f32("out"), &out);
        }
    }

    /// (9) No token reads a later one.
    #[test]
    fn delta_does_not_see_the_future(spec in spec(), seed: u64, cut in 0f32..1.0) {
        let cut = (cut * spec.tokens as f32) as usize;
        for form in FORMS {
            let run = Run::new(spec, seed);
            let mut other = run.clone();
            for name in ["q", "k", "v"] {
                let row = run.f32(name).len() / spec.tokens as usize;
                other.change(name, |(i, x)| if i >= cut * row { *x = 0.5 - *x });
            }
            let row = (spec.value_heads * spec.value_dim) as usize;
            prop_assert_eq!(&run.run(form).f32("out")[..cut * row], &other.run(form).f32("out")[..cut * row]);
        }
    }

    /// (11) Erase and write gates that are `beta` are none, nor are decays of channels that are equal, nor decays of 1.
    #[test]
    fn delta_gates_reduce_to_each_other(spec in spec(), seed: u64) {
        let dim = spec.key_dim as usize;
        let wide = |x: &[f32], n: usize| -> Vec<f32> { x.iter().flat_map(|x| vec![*x; n]).collect() };
        for form in FORMS {
            let head = Run::new(spec.with_gate(Gate::Head), seed);
            let (g, beta) = (head.f32("g"), head.f32("beta"));
            let channel = head.with(spec.with_gate(Gate::Channel), &[("g", &wide(&g, dim)), ("beta", &beta)]);
            let (erase, write) = (wide(&beta, dim), wide(&beta, spec.value_dim as usize));
            let gates: [(&str, &[f32]); 3] = [("g", &wide(&g, dim)), ("erase", &erase), ("write", &write)];
            let both = channel.with(spec.with_gate(Gate::EraseWrite), &gates);
            let none = head.with(spec.with_gate(Gate::None), &[]);
            let still = head.with(spec.with_gate(Gate::Head), &[("g", &vec![0.0; g.len()])]);
            let [head, channel, both, none, still] = [head, channel, both, none, still].map(|run| run.run(form));
            for name in ["out", "state"] {
                close(&channel.f32(name), &head.f32(name));
                close(&both.f32(name), &head.f32(name));
                close(&still.f32(name), &none.f32(name));
            }
        }
    }

    /// (11) A matrix that takes keys out of the decayed state is the delta rule, and one of rank 0 erases nothing.
    #[test]
    fn delta_of_rank_one_reduces_to_other_gates(spec in spec(), seed: u64) {
        let spec = spec.with_normalize(false).with_heads(spec.value_heads);
        let (dim, width) = (spec.key_dim as usize, spec.value_dim as usize);
        for form in FORMS {
            let channel = Run::new(spec.with_gate(Gate::Channel), seed);
            let [k, g, beta, v] = ["k", "g", "beta", "v"].map(|name| channel.f32(name));
            let a: Vec<f32> = (0..k.len()).map(|i| -beta[i / dim] * g[i].exp() * k[i]).collect();
            let written: Vec<f32> = (0..v.len()).map(|i| beta[i / width] * v[i]).collect();
            let one = spec.with_gate(Gate::RankOne);
            let reads = channel.with(one, &[("a", &a), ("b", &k), ("v", &written)]).run(form);
            let none = channel.with(one, &[("a", &a), ("b", &vec![0.0; k.len()]), ("v", &written)]).run(form);
            let gates: [(&str, &[f32]); 2] = [("erase", &vec![0.0; k.len()]), ("write", &vec![1.0; v.len()])];
            let writes = channel.with(spec.with_gate(Gate::EraseWrite), &gates);
            let writes = writes.with(writes.spec, &[("v", &written)]).run(form);
            let channel = channel.run(form);
            for name in ["out", "state"] {
                close(&reads.f32(name), &channel.f32(name));
                close(&none.f32(name), &writes.f32(name));
            }
        }
    }

    /// (18) Value heads that share a key head have its keys.
    #[test]
    fn delta_of_grouped_heads_is_that_of_repeated_keys(spec in spec(), seed: u64) {
        let group = (spec.value_heads / spec.heads) as usize;
        let repeated = |x: Vec<f32>| -> Vec<f32> {
            x.chunks(spec.key_dim as usize).flat_map(|row| row.repeat(group)).collect()
        };
        for form in FORMS {
            let run = Run::new(spec, seed);
            let (q, k) = (repeated(run.f32("q")), repeated(run.f32("k")));
            let alone = run.with(spec.with_heads(spec.value_heads), &[("q", &q), ("k", &k)]);
            prop_assert_eq!(run.run(form).f32("out"), alone.run(form).f32("out"));
        }
    }

    /// (8) Tiles may cut the columns anywhere.
    #[test]
    fn delta_columns_do_not_depend_on_each_other(spec in spec(), seed: u64, column in 0f32..1.0) {
        let (width, column) = (spec.value_dim as usize, (column * spec.value_dim as f32) as usize);
        for form in FORMS {
            let run = Run::new(spec, seed);
            let mut other = run.clone();
            other.change("v", |(i, x)| if i % width == column { *x += 1.0 });
            let (a, b) = (run.run(form).f32("out"), other.run(form).f32("out"));
            prop_assert!(a.iter().zip(&b).enumerate().all(|(i, (a, b))| i % width == column || a == b));
        }
    }

    /// (10) A decay of nearly 0 begins anew.
    #[test]
    fn delta_forgets_what_was_before_a_reset(spec in spec(), seed: u64, at in 0f32..1.0) {
        let spec = spec.with_gate(Gate::Channel).with_initial(true);
        let (at, width) = ((at * spec.tokens as f32) as usize, (spec.value_heads * spec.key_dim) as usize);
        for form in FORMS {
            let mut run = Run::new(spec, seed);
            run.change("g", |(i, g)| if i / width == at { *g = -1e4 });
            let mut other = run.clone();
            other.change("state0", |(_, x)| *x = 3.0 - *x);
            let row = at * (spec.value_heads * spec.value_dim) as usize;
            let (a, b) = (run.run(form), other.run(form));
            close(&a.f32("out")[row..], &b.f32("out")[row..]);
            close(&a.f32("state"), &b.f32("state"));
        }
    }

    /// (19) Other slots keep their bits.
    #[test]
    fn delta_writes_no_slot_that_no_sequence_has(spec in spec(), seed: u64) {
        let spec = spec.with_batch(3).with_pool(Some(5)).with_initial(false).with_last(false);
        for form in FORMS {
            let mut run = Run::new(spec, seed);
            let slots = run.at("slots");
            run.memory[slots] = u32_bytes(&[3, 7, 0]);
            let (before, after) = (run.f32("pool"), run.run(form));
            let (pool, size) = (after.f32("pool"), before.len() / 5);
            for slot in [1, 2, 4] {
                prop_assert_eq!(&pool[slot * size..][..size], &before[slot * size..][..size]);
            }
            let out = after.f32("out");
            prop_assert!(out[out.len() / 3..2 * out.len() / 3].iter().all(|x| *x == 0.0), "a slot past the pool");
        }
    }
}

/// (4) (5) Orthonormal keys with `beta` of 1 are recalled exactly, and a key written twice holds the last value.
#[test]
fn delta_recalls_what_it_wrote() {
    let spec = Spec::new(1, 9, 1, 8, 5).with_last(true);
    for (form, chunk) in FORMS.into_iter().flat_map(|form| [1, 4, 16].map(|chunk| (form, chunk))) {
        let spec = spec.with_chunk(Some(chunk));
        let mut run = Run::new(spec, 4);
        let mut keys = vec![0.0; 72];
        (0..9).for_each(|t| keys[t * 8 + t % 8] = 1.0);
        run.set("k", &keys);
        run.set("beta", &[1.0; 9]);
        let (v, state) = (run.f32("v"), run.run(form).f32("state"));
        // Token 8 has the key of token 0.
        close(&state[..5], &v[40..]);
        close(&state[5..], &v[5..40]);
    }
}

/// (17) Decays from those of a whole chunk at the strongest gate to a reset.
#[test]
fn delta_stays_finite_where_nothing_is_left() {
    let gates = [Gate::Head, Gate::Channel, Gate::EraseWrite, Gate::RankOne];
    for (gate, chunk) in gates.into_iter().flat_map(|gate| [1, 16, 64].map(|chunk| (gate, chunk))) {
        let spec =
            Spec::new(1, 150, 1, 20, 20).with_gate(gate).with_last(true).with_initial(true).with_chunk(Some(chunk));
        for (form, g) in FORMS.into_iter().flat_map(|form| [-5.0, -320.0, -1e4].map(|g| (form, g))) {
            let mut run = Run::new(spec, 4);
            run.change("g", |(_, x)| *x = g);
            let run = run.run(form);
            assert!(run.f32("out").iter().chain(&run.f32("state")).all(|x| x.is_finite()), "{gate:?} {g}");
        }
    }
}

#[test]
fn delta_refuses_what_it_does_not_define() {
    let spec = Spec::new(1, 4, 2, 8, 8);
    for (wrong, arg) in [
        (spec.with_heads(0), "heads"),
        (spec.with_value_heads(3), "value_heads"),
        (spec.with_value_heads(0), "value_heads"),
        (spec.with_key_dim(257), "key_dim"),
        (spec.with_value_dim(0), "value_dim"),
        (spec.with_chunk(Some(0)), "chunk"),
        (spec.with_chunk(Some(65)), "chunk"),
        (spec.with_scale(f32::NAN), "scale"),
        (spec.with_batch(2).with_packed(Some(2)), "batch"),
        (spec.with_pool(Some(2)).with_last(true), "pool"),
        (spec.with_tokens(u32::MAX), "k"),
        (
            spec.with_packed(Some(u32::MAX)).with_key_dim(1).with_value_dim(1).with_value_heads(1).with_heads(1),
            "packed",
        ),
    ] {
        assert!(matches!(wrong.validate(), Err(Error::Shape { arg: found, .. }) if found == arg), "{wrong:?}");
    }
}
