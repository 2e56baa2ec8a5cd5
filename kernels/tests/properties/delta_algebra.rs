//! What the delta rule does not see, what keeps it from growing, and the matrix that its chunks solve with.

use crate::FORMS;
use crate::delta::{Run, close, gate, spec};
use foveate_kernels::delta::{Gate, Spec, check_keys};
use foveate_kernels::rng::Rng;
use proptest::prelude::*;

/// The rows of `x`, each with its elements in the order `of` says.
fn picked(x: &[f32], of: &[usize]) -> Vec<f32> {
    x.chunks_exact(of.len()).flat_map(|row| of.iter().map(|i| row[*i])).collect()
}

/// The blocks of `x`, of `size` elements each, in groups of `of.len()` in the order `of` says.
fn picked_blocks(x: &[f32], size: usize, of: &[usize]) -> Vec<f32> {
    x.chunks_exact(size * of.len())
        .flat_map(|blocks| of.iter().flat_map(|i| &blocks[i * size..][..size]))
        .copied()
        .collect()
}

fn shuffled(n: usize, rng: &mut Rng) -> Vec<usize> {
    let mut of: Vec<usize> = (0..n).collect();
    (1..n).rev().for_each(|i| of.swap(i, rng.below(i as u32 + 1) as usize));
    of
}

/// The vectors of `x`, all reflected at one hyperplane after the other, whose normals are in `normals`.
fn rotated(x: &[f32], normals: &[Vec<f32>]) -> Vec<f32> {
    let mut x = x.to_vec();
    for normal in normals {
        let square: f32 = normal.iter().map(|x| x * x).sum();
        for row in x.chunks_exact_mut(normal.len()) {
            let along: f32 = row.iter().zip(normal).map(|(x, n)| x * n).sum();
            row.iter_mut().zip(normal).for_each(|(x, n)| *x -= 2.0 * along / square * n);
        }
    }
    x
}

/// States `[.., K, V]` as `[.., V, K]` or back.
fn transposed(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let block = |x: &[f32]| -> Vec<f32> { (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect() };
    x.chunks_exact(rows * columns).flat_map(block).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// (3) Without updates and decays the state stays, and every query reads it.
    #[test]
    fn delta_that_writes_nothing_reads_the_state(spec in spec(), seed: u64) {
        let spec = spec.with_initial(true).with_normalize(false).with_gate(Gate::Head);
        let [heads, group] = [spec.value_heads, spec.value_heads / spec.heads].map(|x| x as usize);
        let [key_dim, value_dim] = [spec.key_dim, spec.value_dim].map(|x| x as usize);
        for form in FORMS {
            let mut run = Run::new(spec, seed);
            run.change("beta", |(_, x)| *x = 0.0);
            run.change("g", |(_, x)| *x = 0.0);
            let run = run.run(form);
            let (q, state) = (run.f32("q"), run.f32("state0"));
            prop_assert_eq!(&run.f32("state"), &state);
            let of = |i: usize| -> f32 {
                let (row, v) = (i / value_dim, i % value_dim);
                let query = &q[(row / heads * (heads / group) + row % heads / group) * key_dim..][..key_dim];
                let column = state[row % heads * key_dim * value_dim..].iter().skip(v).step_by(value_dim);
                let sum: f64 = query.iter().zip(column).map(|(q, s)| f64::from(*q) * f64::from(*s)).sum();
                spec.scale * sum as f32
            };
            let out = run.f32("out");
            close(&out, &(0..out.len()).map(of).collect::<Vec<_>>());
        }
    }

    /// (5) A key and value written twice in a row with `beta` of 1 are written once.
    #[test]
    fn delta_written_again_is_written_once(spec in spec(), seed: u64, at in 0f32..1.0) {
        let spec = spec.with_gate(Gate::None).with_tokens(spec.tokens + 1);
        let at = (at * (spec.tokens - 1) as f32) as usize;
        for form in FORMS {
            let mut twice = Run::new(spec, seed);
            let row = |run: &Run, name| run.f32(name).len() / spec.tokens as usize;
            // Of length 1, as keys that write nothing are not.
            let (mut k, dim) = (twice.f32("k"), spec.key_dim as usize);
            let key = row(&twice, "k");
            k[at * key..][..key].iter_mut().enumerate().for_each(|(i, x)| *x = f32::from(u8::from(i % dim == 0)));
            twice.set("k", &k);
            twice.change("beta", |(i, x)| if i / spec.value_heads as usize == at { *x = 1.0 });
            for name in ["k", "v", "beta"] {
                let (mut x, row) = (twice.f32(name), row(&twice, name));
                x.copy_within(at * row..(at + 1) * row, (at + 1) * row);
                twice.set(name, &x);
            }
            let once = ["q", "k", "v", "beta"].map(|name| {
                let (mut x, row) = (twice.f32(name), row(&twice, name));
                x.drain(at * row..(at + 1) * row);
                (name, x)
            });
            let once = once.each_ref().map(|(name, x)| (*name, &x[..]));
            let once = twice.with(spec.with_tokens(spec.tokens - 1), &once).run(form);
            let (mut out, row) = (twice.clone().run(form).f32("out"), row(&twice, "out"));
            out.drain(at * row..(at + 1) * row);
            close(&out, &once.f32("out"));
            close(&twice.run(form).f32("state"), &once.f32("state"));
        }
    }

    /// (7) Where all channels decay alike, rotating keys, queries and states changes no output.
    #[test]
    fn delta_does_not_see_rotations(spec in spec(), seed: u64, gated: bool, reflections in 1usize..5) {
        let spec = spec.with_gate(if gated { Gate::Head } else { Gate::None }).with_initial(true);
        let [key_dim, value_dim] = [spec.key_dim, spec.value_dim].map(|x| x as usize);
        let mut rng = Rng::new(seed);
        let normals: Vec<Vec<f32>> = (0..reflections).map(|_| rng.normals(key_dim, 1.0)).collect();
        let of_state = |x: &[f32]| {
            let columns = rotated(&transposed(x, key_dim, value_dim), &normals);
            transposed(&columns, value_dim, key_dim)
        };
        for form in FORMS {
            let run = Run::new(spec, seed);
            let mut other = run.clone();
            for name in ["q", "k"] {
                other.set(name, &rotated(&run.f32(name), &normals));
            }
            other.set("state0", &of_state(&run.f32("state0")));
            let (run, other) = (run.run(form), other.run(form));
            close(&other.f32("out"), &run.f32("out"));
            close(&other.f32("state"), &of_state(&run.f32("state")));
        }
    }

    /// (7) With any gate, the order of channels is that of the state's rows and nothing else.
    #[test]
    fn delta_does_not_see_the_order_of_channels(spec in spec(), seed: u64, gate in gate()) {
        let spec = spec.with_gate(gate).with_initial(true);
        let of = shuffled(spec.key_dim as usize, &mut Rng::new(seed));
        let channels: &[&str] = match gate {
            Gate::None | Gate::Head => &["q", "k"],
            Gate::Channel => &["q", "k", "g"],
            Gate::EraseWrite => &["q", "k", "g", "erase"],
            Gate::RankOne => &["q", "k", "g", "a", "b"],
            other => unreachable!("{other:?} is not drawn"),
        };
        for form in FORMS {
            let run = Run::new(spec, seed);
            let mut other = run.clone();
            channels.iter().for_each(|name| other.set(name, &picked(&run.f32(name), &of)));
            let rows = |x: &[f32]| picked_blocks(x, spec.value_dim as usize, &of);
            other.set("state0", &rows(&run.f32("state0")));
            let (run, other) = (run.run(form), other.run(form));
            close(&other.f32("out"), &run.f32("out"));
            close(&other.f32("state"), &rows(&run.f32("state")));
        }
    }

    /// (8) The order of value columns is that of outputs and of the state's columns.
    #[test]
    fn delta_keeps_the_order_of_columns(spec in spec(), seed: u64) {
        let spec = spec.with_initial(true);
        let of = shuffled(spec.value_dim as usize, &mut Rng::new(seed));
        for form in FORMS {
            let run = Run::new(spec, seed);
            let mut other = run.clone();
            let gates: &[&str] = if spec.gate == Gate::EraseWrite { &["write"] } else { &[] };
            for name in ["v", "state0"].iter().chain(gates) {
                other.set(name, &picked(&run.f32(name), &of));
            }
            let (run, other) = (run.run(form), other.run(form));
            close(&other.f32("out"), &picked(&run.f32("out"), &of));
            close(&other.f32("state"), &picked(&run.f32("state"), &of));
        }
    }

    /// (8) Sequences and heads are computed each for itself, whatever stands beside it.
    #[test]
    fn delta_keeps_the_order_of_sequences_and_heads(spec in spec(), seed: u64, batch in 1u32..4) {
        let spec = spec.with_batch(batch).with_initial(true);
        let [batch, heads, tokens] = [batch, spec.heads, spec.tokens].map(|x| x as usize);
        let group = spec.value_heads as usize / heads;
        let mut rng = Rng::new(seed);
        let (sequences, of) = (shuffled(batch, &mut rng), shuffled(heads, &mut rng));
        let value_heads: Vec<usize> = of.iter().flat_map(|head| (0..group).map(move |i| head * group + i)).collect();
        let moved = |run: &Run, name: &str| {
            let (x, heads) = (run.f32(name), if ["q", "k"].contains(&name) { &of } else { &value_heads });
            let rows = if name.starts_with("state") { 1 } else { tokens };
            let x = picked_blocks(&x, x.len() / batch, &sequences);
            picked_blocks(&x, x.len() / batch / rows / heads.len(), heads)
        };
        for form in FORMS {
            let run = Run::new(spec, seed);
            let mut other = run.clone();
            for name in ["q", "k", "v", "beta", "g", "erase", "write", "a", "b", "state0"] {
                if run.has(name) {
                    other.set(name, &moved(&run, name));
                }
            }
            let (run, other) = (run.run(form), other.run(form));
            for name in ["out", "state"] {
                prop_assert_eq!(&other.f32(name), &moved(&run, name));
            }
        }
    }

    /// (12) Reflections keep the length of a state, and what `beta` and decays do besides can only shrink it.
    #[test]
    fn delta_without_values_lengthens_no_state(spec in spec(), seed: u64, beta in 0f32..2.0) {
        let spec = spec.with_gate(Gate::Head).with_initial(true);
        let square = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        for form in FORMS {
            let mut run = Run::new(spec, seed);
            run.change("v", |(_, x)| *x = 0.0);
            run.change("beta", |(_, x)| *x = beta);
            let before = square(&run.f32("state0"));
            prop_assert!(square(&run.clone().run(form).f32("state")) <= 1.0001 * before);
            run.change("beta", |(_, x)| *x = 2.0);
            run.change("g", |(_, x)| *x = 0.0);
            if !spec.normalize {
                let after = square(&run.run(form).f32("state"));
                prop_assert!((after - before).abs() <= 1e-4 * before, "{after} after {before}");
            }
        }
    }

    /// (15) With values of `e[t] / beta[t]` the updates are the rows of `A`, and a channel that only the key of token `t` has
    /// keeps row `t` in the state: `A` is lower triangular with 1 on the diagonal, and `(I + L) A` is 1.
    #[test]
    fn delta_solves_a_unit_triangle(
        n in 1usize..40, dim in 1usize..20, chunk in 1u32..65, gate in 0usize..3, seed: u64,
    ) {
        let gate = [Gate::None, Gate::Head, Gate::Channel][gate];
        let spec = Spec::new(1, n as u32, 1, (dim + n) as u32, n as u32)
            .with_gate(gate)
            .with_last(true)
            .with_chunk(Some(chunk));
        let width = dim + n;
        let mut rng = Rng::new(seed);
        let mut run = Run::new(spec, seed);
        let mut k = rng.normals(n * width, 0.5 / (dim as f32).sqrt());
        for (t, key) in k.chunks_exact_mut(width).enumerate() {
            (0..n).for_each(|i| key[dim + i] = f32::from(u8::from(i == t)));
        }
        run.set("k", &k);
        let beta: Vec<f32> = (0..n).map(|_| 0.1 + 0.9 * rng.unit()).collect();
        run.set("beta", &beta);
        run.change("v", |(i, x)| *x = if i / n == i % n { 1.0 / beta[i / n] } else { 0.0 });
        // Decays of the first channels alone would move no row of `A`; all decay, and rows are scaled back.
        let decays = if gate == Gate::None { vec![0.0; n * width] } else {
            let per = run.f32("g").len() / n;
            run.change("g", |(_, g)| *g = -0.2 * rng.unit());
            run.f32("g").iter().flat_map(|g| vec![*g; width / per]).collect()
        };
        // From the beginning on.
        let mut sums: Vec<f64> = decays.iter().map(|g| f64::from(*g)).collect();
        (width..sums.len()).for_each(|i| sums[i] += sums[i - width]);
        let between = |i: usize, j: usize, d: usize| (sums[i * width + d] - sums[j * width + d]).exp();
        let l = |i: usize, j: usize| -> f64 {
            let key = |t: usize, d: usize| f64::from(k[t * width + d]);
            f64::from(beta[i]) * (0..width).map(|d| key(i, d) * key(j, d) * between(i, j, d)).sum::<f64>()
        };
        for form in FORMS {
            let state = run.clone().run(form).f32("state");
            let a = |t: usize, j: usize| f64::from(state[(dim + t) * n + j]) / between(n - 1, t, dim + t);
            let mut product = Vec::new();
            for (i, j) in (0..n * n).map(|at| (at / n, at % n)) {
                if j > i {
                    prop_assert!(a(i, j) == 0.0, "above the diagonal");
                }
                product.push(((0..i).map(|t| l(i, t) * a(t, j)).sum::<f64>() + a(i, j)) as f32);
            }
            (0..n).for_each(|i| close(&[a(i, i) as f32], &[1.0]));
            close(&product, &(0..n * n).map(|at| f32::from(u8::from(at / n == at % n))).collect::<Vec<_>>());
        }
    }
}

/// One key again and again, without values: what the state holds along it is multiplied by `1 - beta |k|^2`.
#[test]
fn delta_grows_where_keys_are_too_long() {
    for (gate, square, grows) in [(1.0, 1.9, false), (1.0, 2.1, true), (0.5, 3.9, false), (0.5, 4.1, true)] {
        for (form, chunk) in FORMS.into_iter().flat_map(|form| [1, 16].map(|chunk| (form, chunk))) {
            let spec = Spec::new(1, 60, 1, 4, 3).with_initial(true).with_last(true).with_chunk(Some(chunk));
            let mut run = Run::new(spec, 4);
            run.change("k", |(i, x)| *x = if i % 4 == 0 { f32::sqrt(square) } else { 0.0 });
            run.change("beta", |(_, x)| *x = gate);
            run.change("v", |(_, x)| *x = 0.0);
            assert_eq!(check_keys(&spec, &run.f32("k"), &run.f32("beta")) > 2.0, grows);
            let (before, after) = (run.f32("state0")[0], run.run(form).f32("state")[0]);
            let many = f32::powi(1.0 - gate * square, 60).abs();
            assert!((after.abs() / before.abs() - many).abs() < 1e-2 * many, "{after} after {before}, {many} times");
            assert_eq!(many > 1.0, grows);
        }
    }
}

/// Value heads have gates of their own, and gates of channels count each.
#[test]
fn delta_checks_the_keys_of_every_gate() {
    let spec = Spec::new(1, 2, 1, 2, 2).with_value_heads(2);
    let keys = [1.0, 0.0, 0.0, 2.0];
    assert_eq!(check_keys(&spec, &keys, &[0.5, 1.0, 0.25, 0.75]), 3.0);
    let spec = spec.with_gate(Gate::EraseWrite).with_value_heads(1);
    assert_eq!(check_keys(&spec, &keys, &[0.5, 1.0, 0.25, 0.75]), 3.0);
    assert_eq!(check_keys(&spec.with_tokens(0), &[], &[]), 0.0);
}
