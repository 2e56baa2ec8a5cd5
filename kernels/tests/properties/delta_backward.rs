use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::delta::{Gate, Spec};
use foveate_kernels::delta_backward;
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::plan::Access;
use foveate_kernels::rng::Rng;
use proptest::prelude::*;

/// The arguments of an op by name.
type Named = Vec<(&'static str, Vec<f32>)>;

fn get<'a>(all: &'a Named, name: &str) -> &'a [f32] {
    all.iter().find(|(n, _)| *n == name).map_or(&[], |(_, x)| x)
}

/// Runs an op on those of `given` that it reads; words of integers pass through as they are.
fn run(form: Form, op: impl Into<Op>, given: &Named) -> Named {
    let op = op.into();
    let args = op.kernel().args();
    let memory = args.iter().map(|arg| match arg.access {
        Access::Read => bytes(get(given, arg.name)),
        _ => vec![0xff; arg.bytes() as usize],
    });
    let mut memory: Vec<Vec<u8>> = memory.collect();
    run_in_place(form, &op, &mut memory);
    args.iter().zip(memory).map(|(arg, bytes)| (arg.name, floats(&bytes))).collect()
}

fn draw(forward: Spec, rng: &mut Rng) -> Named {
    let spec = delta_backward::Spec::new(forward);
    let inputs = spec.inputs(rng);
    spec.args().iter().zip(inputs).map(|(arg, bytes)| (arg.name, floats(&bytes))).collect()
}

/// `sum(out dout) + sum(state dstate)`, added up in f64.
fn loss(forward: Spec, given: &Named) -> f64 {
    let of = run(Form::Reference, forward, given);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(get(&of, "out"), get(given, "dout")) + dot(get(&of, "state"), get(given, "dstate"))
}

fn spec() -> impl Strategy<Value = Spec> {
    let sizes = (1u32..3, 0u32..40, 1u32..3, 1u32..3, 1u32..9, 1u32..9);
    let gate = prop_oneof![Just(Gate::None), Just(Gate::Head), Just(Gate::Channel), Just(Gate::EraseWrite)];
    (sizes, gate, any::<[bool; 3]>(), proptest::option::of(0u32..4)).prop_map(
        |((b, t, h, grouped, k, v), gate, [normalize, initial, last], packed)| {
            let batch = if packed.is_some() { 1 } else { b };
            Spec::new(batch, t, h, k, v)
                .with_value_heads(h * grouped)
                .with_gate(gate)
                .with_normalize(normalize)
                .with_initial(initial)
                .with_last(last)
                .with_packed(packed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// (16) Finite differences.
    #[test]
    fn delta_backward_is_the_slope_of_the_loss(spec in spec(), seed: u64) {
        let mut rng = Rng::new(seed);
        let mut given = draw(spec, &mut rng);
        // Gates that let gradients of all sizes through, and queries and keys that normalising does not blow up.
        for (name, x) in &mut given {
            match *name {
                "g" => x.iter_mut().for_each(|g| *g = g.max(-2.0)),
                "q" | "k" if spec.normalize => x.iter_mut().for_each(|x| *x += 2.0f32.copysign(*x)),
                _ => {}
            }
        }
        for form in FORMS {
            let gradients = run(form, delta_backward::Spec::new(spec), &given);
            for name in ["q", "k", "v", "beta", "g", "erase", "write", "state0"] {
                let at = get(&given, name).to_vec();
                let gradient = get(&gradients, &format!("d{name}"));
                prop_assert_eq!(at.len(), gradient.len());
                let direction = rng.normals(at.len(), 1.0);
                let loss = |step: f32| {
                    let mut moved = given.clone();
                    let x = at.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                    moved.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, old)| *old = Vec::clone(&x));
                    loss(spec, &moved)
                };
                let h = 1.0f32 / 128.0;
                let slope = (8.0 * (loss(h) - loss(-h)) - (loss(2.0 * h) - loss(-2.0 * h))) / (12.0 * f64::from(h));
                let wanted: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
                let size = direction.iter().zip(gradient).map(|(d, g)| f64::from(d * g).powi(2)).sum::<f64>().sqrt();
                prop_assert!((slope - wanted).abs() <= 5e-3 * (1.0 + size), "d{} on {:?}: {} and {}", name, form, slope, wanted);
            }
        }
    }

    #[test]
    fn delta_backward_of_value_heads_is_the_sum_of_repeated_keys(spec in spec(), seed: u64) {
        let given = draw(spec, &mut Rng::new(seed));
        let (dim, group) = (spec.key_dim as usize, (spec.value_heads / spec.heads) as usize);
        let mut repeated = given.clone();
        for (_, x) in repeated.iter_mut().filter(|(name, _)| ["q", "k"].contains(name)) {
            *x = x.chunks_exact(dim).flat_map(|row| row.repeat(group)).collect();
        }
        let alone = spec.with_heads(spec.value_heads);
        for form in FORMS {
            let grouped = run(form, delta_backward::Spec::new(spec), &given);
            let each = run(form, delta_backward::Spec::new(alone), &repeated);
            for (name, got) in grouped {
                let mut want = get(&each, name).to_vec();
                if ["dq", "dk"].contains(&name) {
                    let sum = |rows: &[f32]| (0..dim).map(|d| rows.iter().skip(d).step_by(dim).sum()).collect::<Vec<f32>>();
                    want = want.chunks_exact(dim * group).flat_map(sum).collect();
                } else if !name.starts_with('d') {
                    continue;
                }
                assert_close(&got, &want, 2e-4);
            }
        }
    }

    /// (16) Chunks of any size.
    #[test]
    fn delta_backward_in_chunks_is_that_token_by_token(spec in spec(), seed: u64, tokens in 0u32..140) {
        let spec = spec.with_tokens(tokens);
        let given = draw(spec, &mut Rng::new(seed));
        let of = |chunk| run(Form::Cpu, delta_backward::Spec::new(spec.with_chunk(Some(chunk))), &given);
        let alone = of(1);
        for chunk in [5, 16, 32, 64] {
            for ((name, got), (_, want)) in of(chunk).iter().zip(&alone).filter(|((name, _), _)| name.starts_with('d')) {
                let distance: f64 = got.iter().zip(want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                let size: f64 = want.iter().map(|x| f64::from(*x).powi(2)).sum();
                // As near as executors are to the definition: sums of logarithms of resets lose digits.
                prop_assert!(distance.sqrt() <= 5e-4 * (1.0 + size.sqrt()), "{} in chunks of {}", name, chunk);
            }
        }
    }

    #[test]
    fn delta_backward_of_packed_sequences_is_that_of_each(spec in spec(), seed: u64, lengths in [0u32..40, 0u32..9, 0u32..20]) {
        let tokens = lengths.iter().sum();
        let spec = spec.with_batch(1).with_tokens(tokens).with_packed(Some(3)).with_initial(true).with_last(true);
        let mut given = draw(spec, &mut Rng::new(seed));
        let cu = [0, lengths[0], lengths[0] + lengths[1], tokens];
        let words = cu.iter().map(|at| f32::from_bits(*at)).collect::<Vec<_>>();
        given.iter_mut().filter(|(name, _)| *name == "cu").for_each(|(_, x)| *x = words.clone());
        let cut = |all: &Named, n: usize| -> Named {
            let part = |name: &str, x: &Vec<f32>| {
                let (per, rows) = if name.contains("state") {
                    (x.len() / 3, n..n + 1)
                } else {
                    (x.len() / (tokens as usize).max(1), cu[n] as usize..cu[n + 1] as usize)
                };
                x[per * rows.start..per * rows.end].to_vec()
            };
            all.iter().filter(|(name, _)| *name != "cu").map(|(name, x)| (*name, part(name, x))).collect()
        };
        for form in FORMS {
            let packed = run(form, delta_backward::Spec::new(spec), &given);
            for (n, &tokens) in lengths.iter().enumerate() {
                let forward = spec.with_tokens(tokens).with_packed(None);
                let alone = run(form, delta_backward::Spec::new(forward), &cut(&given, n));
                for ((_, got), (_, want)) in cut(&packed, n).iter().zip(&alone).filter(|((name, _), _)| name.starts_with('d')) {
                    assert_close(got, want, 1e-6);
                }
            }
        }
    }

    /// (16) Without values, what comes out is linear in the state before.
    #[test]
    fn delta_backward_of_states_is_the_adjoint(spec in spec(), seed: u64) {
        let spec = spec.with_initial(true);
        let mut given = draw(spec, &mut Rng::new(seed));
        given.iter_mut().filter(|(name, _)| *name == "v").for_each(|(_, x)| x.fill(0.0));
        let wanted = loss(spec, &given);
        let state0 = get(&given, "state0");
        for form in FORMS {
            let of = run(form, delta_backward::Spec::new(spec), &given);
            let terms = get(&of, "dstate0").iter().zip(state0).map(|(a, b)| f64::from(*a) * f64::from(*b));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
            prop_assert!((sum - wanted).abs() <= 1e-4 * (1.0 + size), "{}, not {} on {:?}", sum, wanted, form);
        }
    }

    #[test]
    fn delta_backward_does_not_see_what_a_reset_hides(spec in spec(), seed: u64, gate in any::<bool>()) {
        let gate = if gate { Gate::Head } else { Gate::Channel };
        let spec = spec
            .with_gate(gate)
            .with_packed(None)
            .with_last(true)
            .with_initial(true)
            .with_tokens(spec.tokens.max(1));
        let mut given = draw(spec, &mut Rng::new(seed));
        let last = (spec.tokens - 1) as usize;
        for (_, x) in given.iter_mut().filter(|(name, _)| *name == "g") {
            let per = x.len() / (spec.batch * spec.tokens) as usize;
            x.chunks_exact_mut(per).skip(last).step_by(last + 1).for_each(|token| token.fill(-1e4));
        }
        for (_, x) in given.iter_mut().filter(|(name, _)| *name == "dout") {
            let per = x.len() / (spec.batch * spec.tokens) as usize;
            let tokens = x.chunks_exact_mut(per).enumerate();
            tokens.filter(|(t, _)| t % (last + 1) != last).for_each(|(_, token)| token.fill(0.0));
        }
        for form in FORMS {
            let of = run(form, delta_backward::Spec::new(spec), &given);
            prop_assert!(get(&of, "dstate0").iter().all(|x| x.abs() < 1e-6));
            prop_assert!(of.iter().all(|(name, x)| !name.starts_with('d') || x.iter().all(|x| x.is_finite())));
        }
    }
}

#[test]
fn delta_backward_refuses_a_pool() {
    let forward = Spec::new(1, 1, 1, 4, 4).with_pool(Some(2));
    assert!(delta_backward::Spec::new(forward).validate().is_err());
}
