//! The fast host forms against the definitions: every case, on every vector unit, with one thread and with several.

use foveate_kernels::cpu::{Args, Bytes, Host, Simd, SingleThread, Tiles, View};
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Access, Arg};
use foveate_kernels::rng::Rng;
use foveate_kernels::testing;
use foveate_kernels::testing::tolerance_on;
use foveate_kernels::testing::{Tolerance, compare};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Three threads that take tasks as they come, from the last to the first, on some of the processor's units.
#[derive(Clone, Copy, Debug)]
struct Threads(Simd, Option<Bytes>, Option<Tiles>);

impl Threads {
    /// Every vector unit by itself, then the best one with each of the others.
    fn all() -> Vec<Self> {
        let best = Simd::detect();
        let mut all: Vec<_> = Simd::available().into_iter().map(|simd| Self(simd, None, None)).collect();
        all.push(Self(best, Some(Bytes::PORTABLE), None));
        all.extend(Bytes::available().into_iter().map(|bytes| Self(best, Some(bytes), None)));
        all.extend(Tiles::detect().map(|tiles| Self(best, None, Some(tiles))));
        all
    }
}

impl Host for Threads {
    fn threads(&self) -> usize {
        3
    }

    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(task) = tasks.checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                body(task);
            }
        };
        std::thread::scope(|scope| {
            (1..3).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    fn simd(&self) -> Simd {
        self.0
    }

    fn bytes(&self) -> Option<Bytes> {
        self.1
    }

    fn tiles(&self) -> Option<Tiles> {
        self.2
    }
}

/// Words with a pattern behind every argument, which nothing may change.
const GUARD: usize = 8;
const PATTERN: u32 = 0x5a5a_a5a5;

/// Runs `body` on the bytes of `inputs`; returns those of the arguments that are written.
fn run(args: &[Arg], inputs: &[Vec<u8>], body: &dyn Fn(&mut Args<'_>)) -> Vec<Vec<u32>> {
    let words = |bytes: &Vec<u8>| {
        let mut padded = bytes.clone();
        padded.resize(bytes.len().next_multiple_of(4), 0xff);
        let mut words: Vec<u32> = padded.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        words.extend([PATTERN; GUARD]);
        words
    };
    let mut memory: Vec<Vec<u32>> = inputs.iter().map(words).collect();
    let views = args.iter().zip(&mut memory).map(|(arg, words)| match arg.access {
        Access::Read => View::In(bytemuck::cast_slice(words.as_slice())),
        _ => View::Out(bytemuck::cast_slice_mut(words.as_mut_slice())),
    });
    body(&mut Args::new(args, views.collect()));
    for (arg, words) in args.iter().zip(&mut memory) {
        let guard = words.split_off(words.len() - GUARD);
        assert!(guard.iter().all(|&w| w == PATTERN), "{} is written behind its end", arg.name);
    }
    memory
}

/// Returns the inputs of the definition. A host that multiplies integers rounds the activations of `linear`, in blocks of 32
/// to multiples of a 32,512th of the largest: the definition reads the rounded activations, so that the comparison shows
/// what the product itself loses. A sum that nearly cancels would show the rounding instead.
fn rounded(op: &Op, inputs: &[Vec<u8>], host: &dyn Host) -> Vec<Vec<u8>> {
    let mut inputs = inputs.to_vec();
    let Op::Linear(spec) = op else { return inputs };
    if !Bytes::takes(spec.format) || host.bytes().is_none() || spec.inputs == 0 {
        return inputs;
    }
    let mut x: Vec<f32> = bytemuck::pod_collect_to_vec(&inputs[0]);
    for row in x.chunks_mut(spec.x_stride as usize) {
        for block in row.chunks_exact_mut(32).take(spec.inputs as usize / 32) {
            let largest = block.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            if largest > 0.0 {
                block.iter_mut().for_each(|x| *x = (*x * (32512.0 / largest)).round_ties_even() * (largest / 32512.0));
            }
        }
    }
    inputs[0] = bytemuck::cast_slice(&x).to_vec();
    inputs
}

/// Compares what the host form writes with what the definition writes.
fn check(id: &str, op: &Op, inputs: &[Vec<u8>], host: &dyn Host, tolerance: Tolerance) -> Result<(), String> {
    let tolerance = tolerance_on(host, op, tolerance);
    let kernel = op.kernel();
    kernel.validate().map_err(|e| format!("{id}: {e}"))?;
    let args = kernel.args();
    let want = run(&args, &rounded(op, inputs, host), &|args| kernel.reference(args));
    let got = run(&args, inputs, &|args| kernel.cpu(host, args));
    if got != run(&args, inputs, &|args| kernel.cpu(host, args)) {
        return Err(format!("{id}: two runs differ"));
    }
    for ((arg, got), want) in args.iter().zip(&got).zip(&want) {
        if arg.access == Access::Read {
            continue;
        }
        if arg.dtype == DType::U32 {
            if got != want {
                return Err(format!("{id}: {} is {got:?}, expected {want:?}", arg.name));
            }
            continue;
        }
        let difference = compare(bytemuck::cast_slice(got), bytemuck::cast_slice(want), tolerance);
        if !difference.within {
            let units = (host.simd().name(), host.bytes(), host.tiles());
            return Err(format!("{id} on {units:?}: {}: {difference}", arg.name));
        }
    }
    Ok(())
}

#[test]
fn cpu_matches_the_reference_in_every_case() {
    let (cases, next, failures) = (testing::cases(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            // By its name, so that other cases change nothing of it.
            let seed =
                case.id.bytes().fold(0, |seed: u64, byte| (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
            let inputs = case.op.kernel().inputs(&mut Rng::new(seed));
            let mut hosts: Vec<Box<dyn Host>> = vec![Box::new(SingleThread)];
            hosts.extend(Threads::all().into_iter().map(|host| Box::new(host) as Box<dyn Host>));
            for host in hosts {
                let failure = check(&case.id, &case.op, &inputs, &*host, case.tolerance).err();
                failures.lock().expect("nobody panics with it").extend(failure);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().expect("nobody panicked with it");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[path = "cpu/lists.rs"]
mod lists;

mod random {
    //! Random specs; a failure prints the spec and the seed of its inputs.

    use super::{DType, Op, Rng, Threads, Tolerance, check};
    use foveate_kernels::{
        activation, attention, attention_backward, conv, conv_backward, delta_gates, embed, linear, merge, norm, rope,
        sample,
    };
    use proptest::prelude::*;
    use proptest::sample::select;

    /// Sizes around tiles and registers, primes, 0 and 1 among them.
    fn size(most: u32) -> impl Strategy<Value = u32> {
        let telling = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 131];
        let telling: Vec<u32> = telling.into_iter().filter(|&n| n <= most).collect();
        prop_oneof![select(telling), 0..=most]
    }

    /// A width of about this size that a format has rows of.
    fn whole_blocks(width: u32, format: DType) -> u32 {
        match format.block_len() {
            1 => width,
            32 => width / 16 * 32,
            block => width / 64 * block,
        }
    }

    fn agrees(op: impl Into<Op>, seed: u64, tolerance: Tolerance) -> Result<(), TestCaseError> {
        let op = op.into();
        let inputs = op.kernel().inputs(&mut Rng::new(seed));
        let hosts = Threads::all();
        let host = hosts[seed as usize % hosts.len()];
        check(&format!("{op:?} from {seed}"), &op, &inputs, &host, tolerance).map_err(TestCaseError::fail)
    }

    fn with_options(
        spec: attention::Spec,
        [causal, softcap, alibi, sinks, lengths]: [bool; 5],
        window: Option<u32>,
    ) -> attention::Spec {
        spec.with_causal(causal)
            .with_window(window)
            .with_softcap(softcap.then_some(3.0))
            .with_alibi(alibi)
            .with_sinks(sinks)
            .with_lengths(lengths)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn linear_cpu_matches_the_reference(
            tokens in size(140), inputs in size(200), outputs in size(140), format in select(&DType::WEIGHTS[..]),
            bias: bool, gaps in (0u32..5, 0u32..5), seed: u64,
        ) {
            let inputs = whole_blocks(inputs, format);
            let spec = linear::Spec::new(tokens, inputs, outputs, format);
            let spec = spec.with_bias(bias).with_x_stride(inputs + gaps.0).with_y_stride(outputs + gaps.1);
            agrees(spec, seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn attention_cpu_matches_the_reference(
            sizes in (1u32..4, size(70), size(140)), heads in (1u32..4, 1u32..5), dims in (1u32..80, 1u32..80),
            options: [bool; 6], window in proptest::option::of(1u32..90), page in proptest::option::of(0u32..7),
            long: bool, bias: [bool; 3], kv in select(&attention::KV[..]), packed in proptest::option::of((size(140), size(300))), seed: u64,
        ) {
            let ((batch, queries, mut keys), (kv_heads, group)) = (sizes, heads);
            let [causal, softcap, alibi, sinks, lengths, lse] = options;
            if long && queries < 3 {
                // More than one chunk.
                keys = 5 * keys + 400;
            }
            let dims = if kv == DType::Q8_0 { (dims.0.next_multiple_of(32), dims.1.next_multiple_of(32)) } else { dims };
            let heads = kv_heads * group;
            let paged = page.map(|p| {
                let width = keys.div_ceil(1 << p) + 1;
                attention::Pages { pages: batch * width + 1, page: 1 << p, width }
            });
            let spec = attention::Spec::causal(batch, queries, keys, heads, kv_heads, dims.0).with_value_dim(dims.1);
            let spec = with_options(spec, [causal, softcap, alibi, sinks, lengths], window)
                .with_lse(lse)
                .with_paged(paged)
                .with_kv(kv)
                .with_bias(bias[0].then_some(attention::Bias { batch: bias[1], heads: bias[2] }))
                .with_packed(packed.map(|(queries, keys)| attention::Packed { queries, keys }))
                .with_q_stride(heads * dims.0 + seed as u32 % 9);
            agrees(spec, seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn attention_backward_cpu_matches_the_reference(
            sizes in (1u32..4, size(140), size(300)), heads in (1u32..4, 1u32..4), dims in (1u32..40, 1u32..40),
            options: [bool; 5], window in proptest::option::of(1u32..90), bias: [bool; 3],
            packed in proptest::option::of((0u32..300, 0u32..600)), seed: u64,
        ) {
            let ((batch, queries, keys), (kv_heads, group)) = (sizes, heads);
            let heads = kv_heads * group;
            let forward = attention::Spec::causal(batch, queries, keys, heads, kv_heads, dims.0).with_value_dim(dims.1);
            let forward = with_options(forward, options, window)
                .with_packed(packed.map(|(queries, keys)| attention::Packed { queries, keys }))
                .with_bias(bias[0].then_some(attention::Bias { batch: bias[1], heads: bias[2] }))
                .with_q_stride(heads * dims.0 + seed as u32 % 9);
            agrees(attention_backward::Spec::new(forward), seed, Tolerance::EXECUTOR_GRADIENT)?;
        }

        #[test]
        fn merge_cpu_matches_the_reference(segments in 1u32..9, rows in size(140), dim in 1u32..140, seed: u64) {
            agrees(merge::Spec::new(segments, rows, dim), seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn norm_cpu_matches_the_reference(
            rows in size(140), groups in 0u32..5, dim in 1u32..300, layer: bool, options: [bool; 3], gap in 0u32..5,
            seed: u64,
        ) {
            let [one_plus, bias, other] = options;
            let (residual, in_place) = (other && seed & 1 == 0, other && seed & 1 == 1);
            let kind = if layer { norm::Kind::Layer } else { norm::Kind::Rms };
            let stride = groups * dim + gap;
            let gate_kind = if seed & 4 == 0 { activation::Kind::Silu } else { activation::Kind::Sigmoid };
            let gate = (seed & 2 == 0).then_some(norm::Gate { kind: gate_kind, stride: stride + 1 });
            let spec = norm::Spec::rms(rows, dim, 1e-5)
                .with_own(seed & 8 == 0)
                .with_groups(groups)
                .with_kind(kind)
                .with_one_plus(one_plus)
                .with_bias(bias)
                .with_residual(residual)
                .with_in_place(in_place)
                .with_gate(gate)
                .with_stride(stride);
            agrees(spec, seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn conv_cpu_matches_the_reference(
            batch in 0u32..4, tokens in size(70), parts in [0u32..70, 0u32..70, 0u32..20], window in 2u32..7,
            bias: bool, states in 0u32..5, packed: bool, gap in 0u32..5, seed: u64,
        ) {
            let all = conv::Activation::ALL;
            let mut at = seed as usize;
            let parts = parts.map(|channels| {
                at = at.wrapping_add(1);
                conv::Part { channels, activation: all[at % 4] }
            });
            let stride = parts.iter().map(|part| part.channels).sum::<u32>() + gap;
            let spec = conv::Spec::new(if packed { 1 } else { batch }, tokens, 0, window, conv::Activation::None)
                .with_parts(parts)
                .with_bias(bias)
                .with_stride(stride)
                .with_packed(packed.then_some(batch + 1))
                .with_initial(states == 1 || states == 2)
                .with_last(states == 2 || states == 3)
                .with_pool((states == 4).then_some(2));
            agrees(spec, seed, Tolerance::EXECUTOR)?;
            let backward = conv_backward::Spec::new(spec.with_pool(None));
            agrees(backward, seed, Tolerance::EXECUTOR_GRADIENT)?;
        }

        #[test]
        fn delta_gates_cpu_matches_the_reference(
            rows in size(70), heads in 0u32..9, channels in 1u32..20, decays: bool, negative: bool, gap in 0u32..5,
            seed: u64,
        ) {
            let decay = decays.then_some(delta_gates::Decay { channels, stride: heads * channels + gap });
            agrees(delta_gates::Spec::new(rows, heads)
                .with_negative(negative)
                .with_stride(heads + gap)
                .with_decay(decay), seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn rope_cpu_matches_the_reference(
            tokens in size(140), heads in 0u32..6, dim in size(130), part in 0.0f32..1.0, half: bool, gap in 0u32..5,
            seed: u64,
        ) {
            let pairing = if half { rope::Pairing::Half } else { rope::Pairing::Interleaved };
            let rotary = (dim as f32 * part) as u32 / 2 * 2;
            agrees(rope::Spec::new(tokens, heads, dim, 300)
                .with_rotary(rotary)
                .with_pairing(pairing)
                .with_stride(heads * dim + gap), seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn activation_cpu_matches_the_reference(
            rows in size(70), dim in size(1200), how in 0u32..4, gap in 0u32..5, seed: u64,
            kind in select(&activation::Kind::ALL[..]), bound in 0.1f32..4.0, limit in 0f32..1.0,
        ) {
            let (gated, scales, in_place) = (how == 1, how == 2, how == 3);
            let stride = dim * if gated { 2 } else { 1 } + gap;
            let spec = activation::Spec::new(rows, dim, kind)
                .with_gated(gated)
                .with_scales(scales)
                .with_in_place(in_place)
                .with_stride(stride)
                .with_bound(bound)
                .with_limit(limit);
            agrees(spec, seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn embed_cpu_matches_the_reference(
            tokens in size(140), vocab in size(140), dim in size(200), format in select(&DType::WEIGHTS[..]),
            scaled: bool, accumulate: bool, seed: u64,
        ) {
            let dim = whole_blocks(dim, format);
            let scale = if scaled { 25.5 } else { 1.0 };
            agrees(embed::Spec::new(tokens, vocab, dim, format)
                .with_scale(scale)
                .with_accumulate(accumulate), seed, Tolerance::EXECUTOR)?;
        }

        #[test]
        fn sample_cpu_chooses_as_the_reference(
            vocab in 1u32..3000, top_k in size(140), top_p in prop_oneof![Just(1.0f32), 0.0f32..1.0],
            min_p in prop_oneof![Just(0.0f32), 0.0f32..1.0], uniform in 0.0f32..1.0, temperature in 0.1f32..3.0,
            penalty in prop_oneof![Just(1.0f32), 0.5f32..2.0], greedy: bool, seed: u64,
        ) {
            let draw = (!greedy).then_some(sample::Draw::new(temperature, uniform).with_top_k(top_k).with_top_p(top_p).with_min_p(min_p));
            agrees(sample::Spec::new(vocab).with_draw(draw).with_penalty(penalty), seed, Tolerance::EXACT)?;
        }
    }
}

/// Runs an op on inputs that a test has changed.
fn agree(op: impl Into<Op>, change: impl Fn(&'static str, &mut [u8])) {
    let op = op.into();
    let mut inputs = op.kernel().inputs(&mut Rng::new(7));
    for (arg, bytes) in op.kernel().args().iter().zip(&mut inputs) {
        change(arg.name, bytes);
    }
    for host in Threads::all() {
        check("changed inputs", &op, &inputs, &host, Tolerance::EXECUTOR).unwrap();
    }
}

#[test]
fn attention_reads_nothing_behind_the_length() {
    use foveate_kernels::attention::Spec;
    for queries in [1, 40] {
        let spec = Spec::causal(1, queries, 700, 6, 2, 64).with_lengths(true).with_lse(true);
        agree(spec, |name, bytes| match name {
            "lengths" => bytes.copy_from_slice(&600u32.to_le_bytes()),
            "k" | "v" => bytes[600 * 2 * 64 * 4..].fill(0xff),
            _ => {}
        });
    }
}

#[test]
fn sample_takes_nan_and_infinities_as_numbers() {
    use foveate_kernels::sample::{Draw, Spec};
    let draw = Draw::new(0.7, 0.6).with_top_p(0.9);
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0] {
        for (draw, every) in [(None, 1), (None, 3), (Some(draw), 1), (Some(draw), 3)] {
            for penalty in [1.0, 1.5] {
                agree(Spec::new(301).with_draw(draw).with_penalty(penalty), |name, bytes| {
                    if name == "logits" {
                        bytes
                            .chunks_exact_mut(4)
                            .step_by(every)
                            .for_each(|b| b.copy_from_slice(&special.to_le_bytes()));
                    }
                });
            }
        }
    }
    // Of zeros the positive one is the larger.
    agree(Spec::new(70), |name, bytes| {
        if name == "logits" {
            bytes.chunks_exact_mut(4).for_each(|b| b.copy_from_slice(&(-0.0f32).to_le_bytes()));
            bytes[40 * 4..41 * 4].fill(0);
        }
    });
}

#[test]
fn norm_keeps_its_accuracy_where_squares_leave_f32() {
    use foveate_kernels::norm::{Kind, Spec};
    for (scale, kind) in [(1e25, Kind::Rms), (1e-22, Kind::Rms), (1e25, Kind::Layer), (1e-22, Kind::Layer)] {
        agree(Spec::rms(3, 70, 0.0).with_kind(kind), |name, bytes| {
            if name == "x" {
                bytemuck::cast_slice_mut::<u8, f32>(bytes).iter_mut().for_each(|x| *x *= scale);
            }
        });
    }
}
