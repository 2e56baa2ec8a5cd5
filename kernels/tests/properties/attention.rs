use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::attention::{NO_KEYS, Pages, Spec};
use foveate_kernels::cases::{Rng, u32_bytes};
use foveate_kernels::op::{Kernel, Op};
use proptest::prelude::*;

/// Runs `spec` over its inputs, in the order of its arguments; `out`, and `lse` where the spec has it.
fn attend(form: Form, spec: Spec, inputs: &[Vec<u8>]) -> (Vec<f32>, Vec<f32>) {
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
        let spec = Spec { causal: false, lse: true, ..spec };
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
            let windowed = Spec { window: Some(spec.keys + beyond), ..spec };
            let (a, b) = (attend(form, windowed, &inputs(&qkv)).0, attend(form, spec, &inputs(&qkv)).0);
            assert_close(&a, &b, 1e-5);
        }
    }

    #[test]
    fn attention_of_grouped_heads_is_that_of_repeated_keys(spec in spec(), seed: u64) {
        let qkv = draw(&spec, &mut Rng::new(seed));
        let repeated = Spec { kv_heads: spec.heads, ..spec };
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
        let spec = Spec { batch: 1, queries: spec.keys, ..spec };
        let qkv = draw(&spec, &mut Rng::new(seed));
        let [q, k, v] = &qkv;
        let kv_row = (spec.kv_heads * spec.dim) as usize;
        let row = (spec.heads * spec.dim) as usize;
        for form in FORMS {
            let all = attend(form, spec, &inputs(&qkv)).0;
            for t in [0, spec.keys as usize / 2, spec.keys as usize - 1] {
                let one = Spec { queries: 1, keys: t as u32 + 1, ..spec };
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
        let spec = Spec { lengths: true, paged: Some(pages), lse: true, ..spec };
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

#[test]
fn attention_without_visible_keys_is_zero() {
    let spec = Spec { lse: true, ..Spec::causal(1, 5, 2, 2, 1, 8) };
    let qkv = draw(&spec, &mut Rng::new(1));
    for form in FORMS {
        let (out, lse) = attend(form, spec, &inputs(&qkv));
        assert!(out[..3 * 16].iter().all(|x| *x == 0.0) && out[3 * 16..].iter().all(|x| *x != 0.0));
        assert!(lse[..3 * 2].iter().all(|x| *x == NO_KEYS) && lse[3 * 2..].iter().all(|x| *x > -100.0));
    }
}
