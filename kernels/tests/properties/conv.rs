use crate::{FORMS, Form, assert_close, bytes, floats, run, run_in_place};
use foveate_kernels::conv::{Activation, Part, Spec};
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::plan::Arg;
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::u32_bytes;
use foveate_kernels::{conv_backward, delta_gates};
use proptest::prelude::*;

const CHANNELS: u32 = 5;

fn spec(tokens: u32, window: u32) -> Spec {
    Spec::new(1, tokens, CHANNELS, window, Activation::Silu).with_initial(true).with_last(true)
}

/// Output and state after `x` from `state`.
fn convolve(form: Form, window: u32, x: &[f32], weight: &[f32], state: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let spec = spec(x.len() as u32 / CHANNELS, window);
    let blank = vec![0xff; x.len() * 4];
    let mut memory = [bytes(x), bytes(weight), bytes(state), blank, vec![0xff; state.len() * 4]];
    run_in_place(form, &Op::from(spec), &mut memory);
    (floats(&memory[3]), floats(&memory[4]))
}

fn draw(seed: u64, tokens: u32, window: u32) -> [Vec<f32>; 3] {
    let mut rng = Rng::new(seed);
    [tokens, window, window - 1].map(|rows| rng.normals((rows * CHANNELS) as usize, 1.0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn conv_split_anywhere_is_the_whole(seed: u64, tokens in 1u32..20, window in 2u32..7, cut in 0.0f32..1.0) {
        let [x, weight, state] = draw(seed, tokens, window);
        let cut = (cut * tokens as f32) as usize * CHANNELS as usize;
        for form in FORMS {
            let (whole, last) = convolve(form, window, &x, &weight, &state);
            let (mut first, between) = convolve(form, window, &x[..cut], &weight, &state);
            let (rest, end) = convolve(form, window, &x[cut..], &weight, &between);
            first.extend(rest);
            prop_assert_eq!(&first, &whole);
            prop_assert_eq!(&end, &last);
        }
    }

    /// (20) of the delta family: what came before is in the state.
    #[test]
    fn conv_steps_are_the_whole(seed: u64, tokens in 1u32..12, window in 2u32..6) {
        let [x, weight, state] = draw(seed, tokens, window);
        for form in FORMS {
            let (whole, last) = convolve(form, window, &x, &weight, &state);
            let (mut held, mut stepped) = (state.clone(), Vec::new());
            for token in x.chunks_exact(CHANNELS as usize) {
                let (out, next) = convolve(form, window, token, &weight, &held);
                stepped.extend(out);
                held = next;
            }
            prop_assert_eq!(&stepped, &whole);
            prop_assert_eq!(&held, &last);
        }
    }

    /// (20) No token behind it, and of those before it as many as the window has.
    #[test]
    fn conv_sees_its_window_and_nothing_else(seed: u64, tokens in 2u32..20, window in 2u32..6, at in 0.0f32..1.0) {
        let [x, weight, state] = draw(seed, tokens, window);
        let (at, width) = ((at * tokens as f32) as usize, CHANNELS as usize);
        let mut other = x.clone();
        other[at * width..][..width].iter_mut().for_each(|x| *x += 1.0);
        for form in FORMS {
            let (a, _) = convolve(form, window, &x, &weight, &state);
            let (b, _) = convolve(form, window, &other, &weight, &state);
            for t in 0..tokens as usize {
                let same = a[t * width..][..width] == b[t * width..][..width];
                prop_assert_eq!(same, t < at || t >= at + window as usize, "token {} of a change at {}", t, at);
            }
        }
    }

    #[test]
    fn conv_packed_sequences_are_apart(seed: u64, lengths in prop::collection::vec(0u32..7, 1..5), window in 2u32..6) {
        let tokens: u32 = lengths.iter().sum();
        let [x, weight, _] = draw(seed, tokens, window);
        let history = ((window - 1) * CHANNELS) as usize;
        let states = Rng::new(seed ^ 1).normals(history * lengths.len(), 1.0);
        let mut cu = vec![0u32];
        lengths.iter().for_each(|n| cu.push(cu[cu.len() - 1] + n));
        let packed = spec(tokens, window).with_packed(Some(lengths.len() as u32));
        for form in FORMS {
            let blank = vec![0xff; x.len() * 4];
            let mut memory =
                [bytes(&x), bytes(&weight), u32_bytes(&cu), bytes(&states), blank, vec![0xff; states.len() * 4]];
            run_in_place(form, &Op::from(packed), &mut memory);
            let (out, last) = (floats(&memory[4]), floats(&memory[5]));
            for n in 0..lengths.len() {
                let tokens = (cu[n] * CHANNELS) as usize..(cu[n + 1] * CHANNELS) as usize;
                let held = n * history..(n + 1) * history;
                let (alone, end) = convolve(form, window, &x[tokens.clone()], &weight, &states[held.clone()]);
                prop_assert_eq!(&out[tokens], &alone[..]);
                prop_assert_eq!(&last[held], &end[..]);
            }
        }
    }

    #[test]
    fn conv_leaves_other_slots_alone(seed: u64, tokens in 0u32..9, window in 2u32..6) {
        let [x, weight, state] = draw(seed, tokens, window);
        let pooled = spec(tokens, window).with_initial(false).with_last(false).with_pool(Some(3));
        let pool = Rng::new(seed ^ 1).normals(3 * state.len(), 1.0);
        for form in FORMS {
            let blank = vec![0xff; x.len() * 4];
            let mut memory = [bytes(&x), bytes(&weight), u32_bytes(&[1]), bytes(&pool), blank];
            run_in_place(form, &Op::from(pooled), &mut memory);
            let (after, held) = (floats(&memory[3]), state.len()..2 * state.len());
            let (out, last) = convolve(form, window, &x, &weight, &pool[held.clone()]);
            prop_assert_eq!(floats(&memory[4]), out);
            prop_assert_eq!(&after[held.clone()], &last[..]);
            prop_assert_eq!(&after[..held.start], &pool[..held.start]);
            prop_assert_eq!(&after[held.end..], &pool[held.end..]);
        }
    }

    #[test]
    fn conv_parts_are_convolutions_of_their_own(seed: u64, tokens in 1u32..9, window in 1u32..6) {
        let mut rng = Rng::new(seed);
        let parts = [(3, Activation::Silu), (2, Activation::EluPlusOne), (4, Activation::Relu)];
        let parts = parts.map(|(channels, activation)| Part { channels, activation });
        let spec = Spec::new(1, tokens, 9, window, Activation::None).with_parts(parts).with_stride(11).with_bias(true);
        let memory = spec.inputs(&mut rng);
        let (x, weight, bias) = (floats(&memory[0]), floats(&memory[1]), floats(&memory[2]));
        for form in FORMS {
            let whole = run(form, spec, &memory[..3], (tokens * 9) as usize);
            let mut first = 0;
            for part in parts {
                let alone = Spec::new(1, tokens, part.channels, window, part.activation)
                    .with_stride(11)
                    .with_bias(true);
                let (c, n) = (part.channels as usize, (part.channels * tokens) as usize);
                let weight = &weight[first * window as usize..][..c * window as usize];
                let inputs = [bytes(&x[first..]), bytes(weight), bytes(&bias[first..][..c])];
                let out = run(form, alone, &inputs, n);
                prop_assert_eq!(&whole[first * tokens as usize..][..n], &out[..]);
                first += c;
            }
        }
    }

    #[test]
    fn conv_backward_is_the_slope_of_the_loss(seed: u64, tokens in 0u32..9, window in 2u32..6, packed: bool) {
        let parts = [(3, Activation::Silu), (2, Activation::EluPlusOne), (1, Activation::None)];
        let parts = parts.map(|(channels, activation)| Part { channels, activation });
        let packed = packed.then_some(2);
        let forward = spec(tokens, window).with_parts(parts).with_stride(6).with_bias(true).with_packed(packed);
        let (op, spec) = (Op::from(forward), conv_backward::Spec::new(forward));
        let mut rng = Rng::new(seed);
        let given = spec.inputs(&mut rng);
        let args = spec.args();
        let at = |name: &str| args.iter().position(|arg| arg.name == name).expect("an argument");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let loss = |given: &[Vec<u8>]| {
            let blank = |arg: &Arg| vec![0xff; arg.bytes() as usize];
            let mut memory: Vec<Vec<u8>> = given[..at("dout")].to_vec();
            memory.extend(forward.args()[at("dout")..].iter().map(blank));
            run_in_place(Form::Reference, &op, &mut memory);
            let of = [at("dout"), at("dstate")].map(|i| dot(&floats(&memory[i]), &floats(&given[i])));
            of[0] + of[1]
        };
        for form in FORMS {
            let mut memory = given.clone();
            run_in_place(form, &Op::from(spec), &mut memory);
            for name in ["x", "weight", "bias", "state0"] {
                let (from, gradient) = (floats(&given[at(name)]), floats(&memory[at(&format!("d{name}"))]));
                let direction = rng.normals(from.len(), 1.0);
                let moved = |step: f32| {
                    let mut given = given.clone();
                    given[at(name)] = bytes(&from.iter().zip(&direction).map(|(x, d)| x + step * d).collect::<Vec<_>>());
                    loss(&given)
                };
                let h = 1.0f32 / 128.0;
                let slope = (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * f64::from(h));
                let wanted = dot(&gradient, &direction);
                let size = direction.iter().zip(&gradient).map(|(d, g)| f64::from(d * g).powi(2)).sum::<f64>().sqrt();
                prop_assert!((slope - wanted).abs() <= 5e-3 * (1.0 + size), "d{} on {:?}: {} and {}", name, form, slope, wanted);
            }
        }
    }

    #[test]
    fn delta_gates_keep_a_state_from_growing(seed: u64, rows in 1u32..9, heads in 1u32..5, negative: bool) {
        let decay = Some(delta_gates::Decay { channels: 1, stride: heads });
        let spec = delta_gates::Spec::new(rows, heads).with_negative(negative).with_decay(decay);
        let most = if negative { 2.0 } else { 1.0 };
        for form in FORMS {
            let mut memory = spec.inputs(&mut Rng::new(seed));
            run_in_place(form, &Op::from(spec), &mut memory);
            prop_assert!(floats(&memory[4]).iter().all(|beta| (0.0..=most).contains(beta)));
            prop_assert!(floats(&memory[5]).iter().all(|g| *g <= 0.0));
        }
    }
}

#[test]
fn delta_gates_stay_finite_at_the_ends() {
    let decay = Some(delta_gates::Decay { channels: 1, stride: 4 });
    let spec = delta_gates::Spec::new(1, 4).with_decay(decay);
    for form in FORMS {
        let x = bytes(&[-1e30, -100.0, 100.0, 1e30]);
        let (ones, zeros) = (bytes(&[0.0; 4]), bytes(&[0.0; 4]));
        let mut memory = [x.clone(), x, ones, zeros, vec![0xff; 16], vec![0xff; 16]];
        run_in_place(form, &Op::from(spec), &mut memory);
        assert_close(&floats(&memory[4]), &[0.0, 0.0, 1.0, 1.0], 1e-6);
        assert_close(&floats(&memory[5]), &[0.0, 0.0, -100.0, -1e30], 1e-6);
    }
}
