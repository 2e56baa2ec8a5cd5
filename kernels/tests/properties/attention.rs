use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::attention::{Bias, NO_KEYS, Packed, Pages, Spec};
use foveate_kernels::dtype::DType;
use foveate_kernels::merge;
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::quant;
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::u32_bytes;
use proptest::prelude::*;

/// `out` and `lse`.
type Attended = (Vec<f32>, Vec<f32>);

/// Runs `spec` over its inputs, in the order of its arguments; `out`, and `lse` where the spec has it.
fn attend(form: Form, spec: Spec, inputs: &[Vec<u8>]) -> Attended {
    let op = Op::from(spec);
    let args = spec.args();
    let mut memory = inputs.to_vec();
    memory.extend(args[inputs.len()..].iter().map(|a| vec![0xff; a.bytes() as usize]));
    run_in_place(form, &op, &mut memory);
    let lse = memory.get(inputs.len() + 1).map(|l| floats(l)).unwrap_or_default();
    (floats(&memory[inputs.len()]), lse)
}

/// Queries, keys and values of a contiguous spec.
fn draw(spec: &Spec, rng: &mut Rng) -> [Vec<f32>; 3] {
    let args = spec.args();
    [0, 1, 2].map(|i| rng.normals(args[i].elements as usize, 1.0))
}

fn inputs(qkv: &[Vec<f32>; 3]) -> Vec<Vec<u8>> {
    qkv.iter().map(|x| bytes(x)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Sizes with grouped heads: batch, queries, keys, heads, kv_heads, dim.
fn spec() -> impl Strategy<Value = Spec> {
    (1u32..3, 1u32..20, 1u32..70, 1u32..4, 1u32..3, 1u32..20)
        .prop_map(|(b, t, s, grouped, g, d)| Spec::causal(b, t, s, grouped * g, g, d))
}

/// Rows `range` of each of `sequences` sequences of `x`.
fn rows(x: &[f32], sequences: u32, range: std::ops::Range<usize>, row: usize) -> Vec<f32> {
    x.chunks(x.len() / sequences as usize).flat_map(|s| s[range.start * row..range.end * row].to_vec()).collect()
}

/// `out` and `lse` of segments `(out, lse)`.
fn merged(form: Form, segments: &[Attended]) -> Attended {
    let rows = segments[0].1.len();
    let spec = merge::Spec::new(segments.len() as u32, rows as u32, (segments[0].0.len() / rows) as u32);
    let of = |part: fn(&Attended) -> &Vec<f32>| bytes(&segments.iter().flat_map(part).copied().collect::<Vec<_>>());
    let mut memory = vec![of(|s| &s.0), of(|s| &s.1), vec![0xff; 4 * segments[0].0.len()], vec![0xff; 4 * rows]];
    run_in_place(form, &Op::from(spec), &mut memory);
    (floats(&memory[2]), floats(&memory[3]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention_does_not_see_the_future(spec in spec(), seed: u64, cut in 0f32..1.0) {
        let mut rng = Rng::new(seed);
        let qkv = draw(&spec, &mut rng);
        // Keys from `first` on change; queries before that position must not, bit by bit.
        let first = (cut * spec.keys as f32) as u32;
        let mut changed = qkv.clone();
        for operand in &mut changed[1..] {
            let row = operand.len() / (spec.batch * spec.keys) as usize;
            for (j, row) in operand.chunks_mut(row).enumerate() {
                if j as u32 % spec.keys >= first {
                    row.copy_from_slice(&rng.normals(row.len(), 3.0));
                }
            }
        }
        for form in FORMS {
            let (a, b) = (attend(form, spec, &inputs(&qkv)).0, attend(form, spec, &inputs(&changed)).0);
            let row = (spec.heads * spec.value_dim) as usize;
            for (token, (a, b)) in a.chunks(row).zip(b.chunks(row)).enumerate() {
                let position = (token as u32 % spec.queries) as i64 + i64::from(spec.keys) - i64::from(spec.queries);
                if position < i64::from(first) {
                    prop_assert_eq!(bits(a), bits(b));
                }
            }
        }
    }

    #[test]
    fn attention_weights_add_up_to_one(spec in spec(), seed: u64) {
        let mut qkv = draw(&spec, &mut Rng::new(seed));
        qkv[2].fill(1.0);
        for form in FORMS {
            let out = attend(form, spec, &inputs(&qkv)).0;
            for (row, out) in out.chunks((spec.heads * spec.dim) as usize).enumerate() {
                // Queries in front of the first key see nothing.
                let unseen = (row as u32 % spec.queries) + spec.keys < spec.queries;
                assert_close(out, &vec![if unseen { 0.0 } else { 1.0 }; out.len()], 1e-5);
            }
        }
    }

    #[test]
    fn attention_ignores_the_order_of_keys(spec in spec(), seed: u64, turn in 0u32..70) {
        let spec = spec.with_causal(false).with_lse(true);
        let qkv = draw(&spec, &mut Rng::new(seed));
        let mut turned = qkv.clone();
        for operand in &mut turned[1..] {
            let sequence = operand.len() / spec.batch as usize;
            let row = sequence / spec.keys as usize;
            operand.chunks_mut(sequence).for_each(|s| s.rotate_left((turn % spec.keys) as usize * row));
        }
        for form in FORMS {
            let (a, b) = (attend(form, spec, &inputs(&qkv)), attend(form, spec, &inputs(&turned)));
            assert_close(&a.0, &b.0, 1e-5);
            assert_close(&a.1, &b.1, 1e-5);
        }
    }

    #[test]
    fn attention_with_a_window_of_all_keys_has_none(spec in spec(), seed: u64, beyond in 0u32..3) {
        let qkv = draw(&spec, &mut Rng::new(seed));
        for form in FORMS {
            let windowed = spec.with_window(Some(spec.keys + beyond));
            let (a, b) = (attend(form, windowed, &inputs(&qkv)).0, attend(form, spec, &inputs(&qkv)).0);
            assert_close(&a, &b, 1e-5);
        }
    }

    #[test]
    fn attention_with_no_key_ahead_is_causal_and_with_all_of_them_is_not(spec in spec(), seed: u64, beyond in 0u32..3) {
        let qkv = draw(&spec, &mut Rng::new(seed));
        for form in FORMS {
            let of = |causal, ahead| attend(form, spec.with_causal(causal).with_ahead(ahead), &inputs(&qkv)).0;
            assert_close(&of(false, Some(0)), &of(true, None), 1e-5);
            assert_close(&of(false, Some(spec.queries + spec.keys + beyond)), &of(false, None), 1e-5);
        }
    }

    #[test]
    fn attention_of_grouped_heads_is_that_of_repeated_keys(spec in spec(), seed: u64) {
        let qkv = draw(&spec, &mut Rng::new(seed));
        let repeated = spec.with_kv_heads(spec.heads);
        let repeat = |x: &[f32]| -> Vec<f32> {
            let times = (spec.heads / spec.kv_heads) as usize;
            x.chunks(spec.dim as usize).flat_map(|head| head.repeat(times)).collect()
        };
        let [q, k, v] = &qkv;
        for form in FORMS {
            let many = inputs(&[q.clone(), repeat(k), repeat(v)]);
            assert_close(&attend(form, spec, &inputs(&qkv)).0, &attend(form, repeated, &many).0, 1e-5);
        }
    }

    #[test]
    fn attention_of_one_query_is_a_row_of_that_of_many(spec in spec(), seed: u64) {
        let spec = spec.with_batch(1).with_queries(spec.keys);
        let qkv = draw(&spec, &mut Rng::new(seed));
        let [q, k, v] = &qkv;
        let kv_row = (spec.kv_heads * spec.dim) as usize;
        let row = (spec.heads * spec.dim) as usize;
        for form in FORMS {
            let all = attend(form, spec, &inputs(&qkv)).0;
            for t in [0, spec.keys as usize / 2, spec.keys as usize - 1] {
                let one = spec.with_queries(1).with_keys(t as u32 + 1);
                let seen = (t + 1) * kv_row;
                let part = [q[t * row..][..row].to_vec(), k[..seen].to_vec(), v[..seen].to_vec()];
                assert_close(&attend(form, one, &inputs(&part)).0, &all[t * row..][..row], 1e-5);
            }
        }
    }

    #[test]
    fn attention_never_reads_what_no_sequence_has(spec in spec(), seed: u64, page in 0u32..5) {
        let mut rng = Rng::new(seed);
        let page = 1 << page;
        let width = spec.keys.div_ceil(page);
        let pages = Pages { pages: spec.batch * width + 1, page, width };
        let spec = spec.with_lengths(true).with_paged(Some(pages)).with_lse(true);
        // Pages in reverse; the first of the pool belongs to no sequence.
        let table: Vec<u32> = (0..spec.batch * width).rev().map(|p| p + 1).collect();
        let lengths: Vec<u32> = (0..spec.batch).map(|_| rng.below(spec.keys + 1)).collect();
        let [q, k, v] = draw(&spec, &mut rng);
        let poisoned = |x: &[f32]| {
            let row = (spec.kv_heads * spec.dim) as usize;
            let mut held = vec![f32::NAN; x.len()];
            for (b, &length) in lengths.iter().enumerate() {
                for j in 0..length {
                    let from = table[b * width as usize + (j / page) as usize] * page + j % page;
                    let at = from as usize * row;
                    held[at..][..row].copy_from_slice(&x[at..][..row]);
                }
            }
            held
        };
        let given = |k: &[f32], v: &[f32]| vec![bytes(&q), bytes(k), bytes(v), u32_bytes(&table), u32_bytes(&lengths)];
        for form in FORMS {
            let (a, b) = (attend(form, spec, &given(&k, &v)), attend(form, spec, &given(&poisoned(&k), &poisoned(&v))));
            prop_assert_eq!(bits(&a.0), bits(&b.0));
            prop_assert_eq!(bits(&a.1), bits(&b.1));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention_turns_with_its_queries(spec in spec(), seed: u64, turn in 0usize..20) {
        let spec = spec.with_causal(false).with_lse(true);
        let qkv = draw(&spec, &mut Rng::new(seed));
        let tokens = spec.queries as usize;
        let turned = |x: &[f32]| -> Vec<f32> {
            let mut x = x.to_vec();
            let (sequence, row) = (x.len() / spec.batch as usize, x.len() / (spec.batch as usize * tokens));
            x.chunks_mut(sequence).for_each(|s| s.rotate_left(turn % tokens * row));
            x
        };
        let [q, k, v] = &qkv;
        for form in FORMS {
            let (out, lse) = attend(form, spec, &inputs(&qkv));
            let (got, got_lse) = attend(form, spec, &inputs(&[turned(q), k.clone(), v.clone()]));
            assert_close(&got, &turned(&out), 1e-5);
            assert_close(&got_lse, &turned(&lse), 1e-5);
        }
    }

    #[test]
    fn attention_is_blind_to_a_shift_of_all_logits(spec in spec(), seed: u64, shift in -20f32..20.0) {
        // One more dimension, which is 1 in every query and `shift` in every key.
        let wide = spec.with_dim(spec.dim + 1).with_q_stride(spec.heads * (spec.dim + 1)).with_lse(true);
        let [q, k, v] = draw(&spec, &mut Rng::new(seed));
        let with = |x: &[f32], last: f32| -> Vec<f32> {
            x.chunks(spec.dim as usize).flat_map(|row| row.iter().copied().chain([last])).collect()
        };
        for form in FORMS {
            let run = |by| attend(form, wide, &inputs(&[with(&q, 1.0), with(&k, by), v.clone()]));
            let (plain, shifted) = (run(0.0), run(shift));
            assert_close(&shifted.0, &plain.0, 5e-5);
            for (shifted, plain) in shifted.1.iter().zip(&plain.1) {
                let want = if *plain == NO_KEYS { NO_KEYS } else { plain + shift * spec.scale };
                assert_close(&[*shifted], &[want], 1e-5);
            }
        }
    }

    #[test]
    fn attention_is_linear_in_its_values(spec in spec(), seed: u64, factor in -3f32..3.0) {
        let mut rng = Rng::new(seed);
        let [q, k, v] = draw(&spec, &mut rng);
        let w = rng.normals(v.len(), 1.0);
        let sum: Vec<f32> = v.iter().zip(&w).map(|(v, w)| v + factor * w).collect();
        for form in FORMS {
            let run = |v: &[f32]| attend(form, spec, &inputs(&[q.clone(), k.clone(), v.to_vec()])).0;
            let want: Vec<f32> = run(&v).iter().zip(run(&w)).map(|(v, w)| v + factor * w).collect();
            assert_close(&run(&sum), &want, 2e-5);
        }
    }

    #[test]
    fn attention_takes_its_scale_from_either_side(spec in spec(), seed: u64, power in -3i32..4) {
        let factor = 2f32.powi(power);
        let [q, k, v] = draw(&spec, &mut Rng::new(seed));
        let scaled: Vec<f32> = q.iter().map(|q| q * factor).collect();
        for form in FORMS {
            let folded = spec.with_scale(spec.scale / factor);
            let a = attend(form, spec, &inputs(&[q.clone(), k.clone(), v.clone()])).0;
            assert_close(&attend(form, folded, &inputs(&[scaled.clone(), k.clone(), v.clone()])).0, &a, 1e-5);
        }
    }

    #[test]
    fn attention_with_a_window_of_one_gives_the_value_itself(spec in spec(), seed: u64) {
        let spec = spec.with_queries(spec.keys).with_window(Some(1)).with_kv_heads(spec.heads);
        let qkv = draw(&spec, &mut Rng::new(seed));
        for form in FORMS {
            assert_close(&attend(form, spec, &inputs(&qkv)).0, &qkv[2], 1e-6);
        }
    }

    #[test]
    fn attention_without_effective_options_has_none(spec in spec(), seed: u64) {
        let qkv = draw(&spec, &mut Rng::new(seed));
        let (low, flat) = (vec![-1e30; spec.heads as usize], vec![0.0; spec.heads as usize]);
        for form in FORMS {
            let plain = attend(form, spec, &inputs(&qkv)).0;
            let capped = attend(form, spec.with_softcap(Some(1e4)), &inputs(&qkv)).0;
            assert_close(&capped, &plain, 1e-4);
            for (spec, vector) in [(spec.with_sinks(true), &low), (spec.with_alibi(true), &flat)] {
                let given = [inputs(&qkv), vec![bytes(vector)]].concat();
                assert_close(&attend(form, spec, &given).0, &plain, 1e-5);
            }
            // A sink above everything leaves nothing to the values.
            let given = [inputs(&qkv), vec![bytes(&vec![1e6; spec.heads as usize])]].concat();
            let (out, lse) = attend(form, spec.with_sinks(true).with_lse(true), &given);
            prop_assert!(out.iter().all(|x| *x == 0.0) && lse.iter().all(|l| *l == 1e6));
        }
    }

    #[test]
    fn attention_gives_a_sink_its_share(spec in spec(), seed: u64, sink in -3f32..3.0) {
        // Values of 1 become 1 - p, where the sink's weight is p = exp(sink - lse).
        let spec = spec.with_sinks(true).with_lse(true).with_causal(false);
        let mut qkv = draw(&spec, &mut Rng::new(seed));
        qkv[2].fill(1.0);
        for form in FORMS {
            let given = [inputs(&qkv), vec![bytes(&vec![sink; spec.heads as usize])]].concat();
            let (out, lse) = attend(form, spec, &given);
            for (out, lse) in out.chunks(spec.dim as usize).zip(&lse) {
                assert_close(out, &vec![1.0 - (sink - lse).exp(); out.len()], 1e-5);
            }
        }
    }

    #[test]
    fn attention_softcap_bounds_logits(spec in spec(), seed: u64, cap in 0.1f32..5.0) {
        let spec = spec.with_causal(false).with_softcap(Some(cap)).with_lse(true);
        let mut qkv = draw(&spec, &mut Rng::new(seed));
        qkv[0].iter_mut().for_each(|q| *q *= 100.0);
        let keys = (spec.keys as f32).ln();
        for form in FORMS {
            let lse = attend(form, spec, &inputs(&qkv)).1;
            prop_assert!(lse.iter().all(|l| (l - keys).abs() <= cap * 1.0001 + 1e-4));
        }
    }

    #[test]
    fn attention_holds_where_logits_are_huge(spec in spec(), seed: u64) {
        let spec = spec.with_scale(1.0).with_causal(false).with_lse(true);
        let mut qkv = draw(&spec, &mut Rng::new(seed));
        qkv[0].iter_mut().for_each(|q| *q *= 1e4);
        for form in FORMS {
            let (out, lse) = attend(form, spec, &inputs(&qkv));
            let most = qkv[2].iter().fold(0f32, |most, v| most.max(v.abs()));
            prop_assert!(lse.iter().all(|l| l.is_finite()) && out.iter().all(|x| x.abs() <= most * 1.0001));
        }
    }

    #[test]
    fn attention_lse_is_that_of_the_logits(spec in spec(), seed: u64) {
        let spec = spec.with_batch(1).with_causal(false).with_lse(true);
        let qkv = draw(&spec, &mut Rng::new(seed));
        let [q, k, _] = &qkv;
        let (dim, heads, kv_heads) = (spec.dim as usize, spec.heads as usize, spec.kv_heads as usize);
        let want: Vec<f32> = (0..q.len() / dim)
            .map(|row| {
                let g = row % heads / (heads / kv_heads);
                let logit = |j: usize| {
                    let pairs = q[row * dim..][..dim].iter().zip(&k[(j * kv_heads + g) * dim..][..dim]);
                    f64::from(spec.scale) * pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>()
                };
                (0..spec.keys as usize).map(|j| logit(j).exp()).sum::<f64>().ln() as f32
            })
            .collect();
        for form in FORMS {
            assert_close(&attend(form, spec, &inputs(&qkv)).1, &want, 1e-5);
        }
    }

    #[test]
    fn attention_of_packed_sequences_is_that_of_each(
        lengths in prop::collection::vec((0u32..12, 0u32..80), 1..6), heads in (1u32..3, 1u32..3), dim in 1u32..20,
        causal: bool, window in prop::option::of(1u32..20), front in 0u32..3, seed: u64,
    ) {
        let offsets = |of: fn(&(u32, u32)) -> u32| {
            let mut all = vec![front];
            lengths.iter().for_each(|l| all.push(all[all.len() - 1] + of(l)));
            all
        };
        let (cu_q, cu_k) = (offsets(|l| l.0), offsets(|l| l.1));
        let (kv_heads, group) = heads;
        let of = Spec::causal_packed(&cu_q, &cu_k, kv_heads * group, kv_heads, dim).expect("offsets rise");
        let spec = of.with_causal(causal).with_window(window).with_lse(true);
        let qkv = draw(&spec, &mut Rng::new(seed));
        let given = [inputs(&qkv), vec![u32_bytes(&cu_q), u32_bytes(&cu_k)]].concat();
        let (q_row, kv_row) = ((spec.heads * dim) as usize, (kv_heads * dim) as usize);
        for form in FORMS {
            let (out, lse) = attend(form, spec, &given);
            // What no sequence has is left alone.
            prop_assert!(out[..front as usize * q_row].iter().all(|x| x.is_nan()));
            for (b, &(queries, keys)) in lengths.iter().enumerate() {
                let one = Spec::causal(1, queries, keys, spec.heads, kv_heads, dim)
                    .with_causal(causal)
                    .with_window(window)
                    .with_lse(true);
                let part = |x: &[f32], from: u32, len: u32, row: usize| x[from as usize * row..][..len as usize * row].to_vec();
                let [q, k, v] = &qkv;
                let parts = [part(q, cu_q[b], queries, q_row), part(k, cu_k[b], keys, kv_row), part(v, cu_k[b], keys, kv_row)];
                let (want, want_lse) = attend(form, one, &inputs(&parts));
                assert_close(&part(&out, cu_q[b], queries, q_row), &want, 1e-5);
                assert_close(&part(&lse, cu_q[b], queries, spec.heads as usize), &want_lse, 1e-5);
            }
        }
    }

    #[test]
    fn attention_holds_any_offsets(offsets: [u32; 8], small: bool, seed: u64) {
        let sizes = offsets.map(|o| if small { o % 12 } else { o });
        let spec = Spec::causal(3, 5, 7, 2, 1, 8).with_packed(Some(Packed { queries: 9, keys: 11 })).with_lse(true);
        let given = [inputs(&draw(&spec, &mut Rng::new(seed))), vec![u32_bytes(&sizes[..4]), u32_bytes(&sizes[4..])]].concat();
        for form in FORMS {
            // Every row is the attention of some sequence, or untouched.
            let (out, lse) = attend(form, spec, &given);
            for (out, lse) in out.chunks(8).zip(&lse) {
                let untouched = lse.is_nan();
                prop_assert!(out.iter().all(|x| x.is_nan() == untouched));
            }
        }
    }

    #[test]
    fn attention_of_stored_keys_is_that_of_their_numbers(spec in spec(), seed: u64, blocks: bool) {
        let (kv, dim) = if blocks { (DType::Q8_0, 32) } else { (DType::F16, spec.dim) };
        let spec = spec.with_dim(dim).with_value_dim(dim).with_q_stride(spec.heads * dim).with_lse(true);
        let [q, k, v] = draw(&spec, &mut Rng::new(seed));
        let stored = |x: &[f32]| {
            let mut bytes = vec![0; kv.bytes(x.len() as u64).expect("whole blocks") as usize];
            quant::encode(kv, x, &mut bytes);
            bytes
        };
        let numbers = |stored: &[u8], len: usize| {
            let mut x = vec![0.0; len];
            quant::decode(kv, stored, &mut x);
            x
        };
        let (k, v) = (stored(&k), stored(&v));
        let len = (spec.batch * spec.keys * spec.kv_heads * dim) as usize;
        let plain = [bytes(&q), bytes(&numbers(&k, len)), bytes(&numbers(&v, len))];
        for form in FORMS {
            let a = attend(form, spec.with_kv(kv), &[bytes(&q), k.clone(), v.clone()]);
            let b = attend(form, spec, &plain);
            assert_close(&a.0, &b.0, 1e-5);
            assert_close(&a.1, &b.1, 1e-5);
        }
    }

    #[test]
    fn attention_bias_of_a_row_shifts_its_lse(spec in spec(), seed: u64, own: [bool; 2]) {
        let mut rng = Rng::new(seed);
        let spec = spec.with_lse(true);
        let with = spec.with_bias(Some(Bias { batch: own[0], heads: own[1] }));
        let qkv = draw(&spec, &mut rng);
        let [planes_b, planes_h] = [if own[0] { spec.batch } else { 1 }, if own[1] { spec.heads } else { 1 }];
        let shifts = rng.normals((planes_b * planes_h * spec.queries) as usize, 3.0);
        let bias: Vec<f32> = shifts.iter().flat_map(|s| vec![*s; spec.keys as usize]).collect();
        for form in FORMS {
            let plain = attend(form, spec, &inputs(&qkv));
            let shifted = attend(form, with, &[inputs(&qkv), vec![bytes(&bias)]].concat());
            assert_close(&shifted.0, &plain.0, 1e-5);
            for (i, (shifted, plain)) in shifted.1.iter().zip(&plain.1).enumerate() {
                let (h, t) = (i as u32 % spec.heads, i as u32 / spec.heads % spec.queries);
                let b = i as u32 / spec.heads / spec.queries;
                let plane = if own[0] { b * planes_h } else { 0 } + if own[1] { h } else { 0 };
                let shift = shifts[(plane * spec.queries + t) as usize];
                let want = if *plain == NO_KEYS { NO_KEYS } else { plain + shift };
                assert_close(&[*shifted], &[want], 1e-5);
            }
        }
    }

    #[test]
    fn attention_bias_is_any_mask_and_any_slope(spec in spec(), seed: u64, hidden in 0usize..3) {
        let mut rng = Rng::new(seed);
        let qkv = draw(&spec, &mut rng);
        let slopes = rng.normals(spec.heads as usize, 0.3);
        let mut bias = Vec::new();
        for slope in &slopes {
            for t in 0..spec.queries {
                let position = t as f32 + spec.keys as f32 - spec.queries as f32;
                let mask = [f32::NEG_INFINITY, f32::MIN, -1e38][hidden];
                bias.extend((0..spec.keys).map(|j| if j as f32 > position { mask } else { slope * (j as f32 - position) }));
            }
        }
        let by_bias = spec.with_causal(false).with_bias(Some(Bias { batch: false, heads: true })).with_lse(true);
        let by_options = spec.with_alibi(true).with_lse(true);
        for form in FORMS {
            let a = attend(form, by_bias, &[inputs(&qkv), vec![bytes(&bias)]].concat());
            let b = attend(form, by_options, &[inputs(&qkv), vec![bytes(&slopes)]].concat());
            assert_close(&a.0, &b.0, 1e-5);
            assert_close(&a.1, &b.1, 1e-5);
        }
    }

    #[test]
    fn merge_of_any_cut_is_the_whole(
        spec in spec(), seed: u64, cuts in prop::collection::vec(0f32..1.0, 0..5), order: u64,
    ) {
        let spec = spec.with_causal(false).with_lse(true);
        let [q, k, v] = draw(&spec, &mut Rng::new(seed));
        let mut ends: Vec<usize> = cuts.iter().map(|c| (c * spec.keys as f32) as usize).collect();
        ends.extend([0, spec.keys as usize]);
        ends.sort_unstable();
        let row = (spec.kv_heads * spec.dim) as usize;
        for form in FORMS {
            let mut parts: Vec<_> = ends
                .windows(2)
                .map(|cut| {
                    let part = |x: &[f32]| rows(x, spec.batch, cut[0]..cut[1], row);
                    let part_spec = spec.with_keys((cut[1] - cut[0]) as u32);
                    let mut found = attend(form, part_spec, &inputs(&[q.clone(), part(&k), part(&v)]));
                    if cut[0] == cut[1] {
                        // What stands beside no keys is never read.
                        found.0.fill(f32::NAN);
                    }
                    found
                })
                .collect();
            let (whole, lse) = attend(form, spec, &inputs(&[q.clone(), k.clone(), v.clone()]));
            let got = merged(form, &parts);
            assert_close(&got.0, &whole, 1e-5);
            assert_close(&got.1, &lse, 1e-5);
            // In another order, and in steps.
            let turn = order as usize % parts.len();
            parts.rotate_left(turn);
            let mut steps = parts[0].clone();
            for part in &parts[1..] {
                steps = merged(form, &[steps, part.clone()]);
            }
            if parts.len() == 1 {
                steps = merged(form, &parts);
            }
            assert_close(&steps.0, &whole, 1e-5);
            assert_close(&steps.1, &lse, 1e-5);
        }
    }
}

#[test]
fn merge_of_nothing_is_nothing() {
    for form in FORMS {
        for empty in [NO_KEYS, f32::NEG_INFINITY] {
            let part = (vec![f32::NAN; 6], vec![empty; 2]);
            let (out, lse) = merged(form, &[part.clone(), part]);
            assert!(out.iter().all(|x| *x == 0.0) && lse == [NO_KEYS; 2]);
        }
    }
}

#[test]
fn attention_refuses_offsets_that_decrease() {
    for (cu_q, cu_k) in [(&[0, 3, 2][..], &[0, 1, 2][..]), (&[0, 1, 2], &[0, 3, 2]), (&[0, 1], &[0, 1, 2]), (&[], &[])]
    {
        assert!(Spec::causal_packed(cu_q, cu_k, 2, 1, 8).is_err(), "{cu_q:?} {cu_k:?}");
    }
}

#[test]
fn attention_without_visible_keys_is_zero() {
    let spec = Spec::causal(1, 5, 2, 2, 1, 8).with_lse(true);
    let qkv = draw(&spec, &mut Rng::new(1));
    for form in FORMS {
        let (out, lse) = attend(form, spec, &inputs(&qkv));
        assert!(out[..3 * 16].iter().all(|x| *x == 0.0) && out[3 * 16..].iter().all(|x| *x != 0.0));
        assert!(lse[..3 * 2].iter().all(|x| *x == NO_KEYS) && lse[3 * 2..].iter().all(|x| *x > -100.0));
    }
}
