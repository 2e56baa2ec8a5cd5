//! Many traces in one pass equal each alone.

use super::support::{adapter, cpu};
use foveate_core::cache::NO_TOKEN;
use foveate_core::coprocessor::packed_augment;
use foveate_core::host::HostBackend;
use foveate_core::{Any, Backend, Error};
use pollster::block_on;

const SHAPE: [u32; 3] = [4, 2, 16];

fn values(count: usize, seed: f64) -> Vec<f32> {
    (0..count).map(|i| ((i as f64 * 12.9898 + seed).sin() * 43758.5453).fract() as f32).collect()
}

/// Attention by the definition of the mask, in f64.
fn dense(layout: &foveate_core::coprocessor::Layout, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f64> {
    let [heads, kv_heads, dim] = SHAPE.map(|x| x as usize);
    let mut out = Vec::new();
    for i in 0..layout.rows() {
        for h in 0..heads {
            let g = h / (heads / kv_heads);
            let row = |x: &[f32], at: u32, heads: usize, h: usize| -> Vec<f64> {
                x[(at as usize * heads + h) * dim..][..dim].iter().map(|x| f64::from(*x)).collect()
            };
            let query = row(q, i, heads, h);
            let seen: Vec<u32> = (0..layout.rows()).filter(|&j| layout.sees(i, j)).collect();
            let score = |j: u32| {
                let key = row(k, j, kv_heads, g);
                (query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()).exp()
            };
            let weights: Vec<f64> = seen.iter().map(|&j| score(j)).collect();
            let sum: f64 = weights.iter().sum();
            for d in 0..dim {
                let value = |(&j, w): (&u32, &f64)| w * f64::from(v[(j as usize * kv_heads + g) * dim + d]);
                out.push(seen.iter().zip(&weights).map(value).sum::<f64>() / sum);
            }
        }
    }
    out
}

fn run(backend: &Any, layout: &foveate_core::coprocessor::Layout, qkv: [&[f32]; 3]) -> Vec<f32> {
    let load = |values: &[f32]| {
        let buffer = backend.alloc("x", values.len() as u64 * 4).expect("memory");
        backend.upload(&buffer, 0, bytemuck::cast_slice(values)).expect("it fits");
        buffer
    };
    let [q, k, v] = qkv.map(load);
    let out = load(&vec![f32::NAN; qkv[0].len()]);
    layout.attention(backend, SHAPE, [&q, &k, &v, &out]).expect("it runs");
    let bytes = block_on(backend.download(&out, 0, qkv[0].len() as u64 * 4)).expect("it was computed");
    bytemuck::pod_collect_to_vec(&bytes)
}

#[test]
fn packed_attention_is_attention_under_the_mask() {
    let text: Vec<u32> = (0..70).collect();
    let [heads, kv_heads, dim] = SHAPE;
    let backends = [Some(Any::Host(HostBackend::reference())), Some(cpu()), adapter()];
    for backend in backends.into_iter().flatten() {
        for (positions, latents, ahead) in [(&[0, 5, 63, 64, 65][..], 3, 4), (&[10], 1, 0), (&[], 2, 2)] {
            let layout = packed_augment(&text, positions, latents, ahead).expect("it fits");
            let rows = layout.rows() as usize;
            let (q, k) = (values(rows * (heads * dim) as usize, 1.0), values(rows * (kv_heads * dim) as usize, 2.0));
            let v = values(k.len(), 3.0);
            let got = run(&backend, &layout, [&q, &k, &v]);
            let wanted = dense(&layout, &q, &k, &v);
            for (i, (got, want)) in got.iter().zip(&wanted).enumerate() {
                assert!((f64::from(*got) - want).abs() < 2e-5, "element {i}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn packed_traces_equal_separate_runs() {
    let text: Vec<u32> = (0..70).collect();
    let ([heads, kv_heads, dim], [latents, ahead]) = (SHAPE, [3, 4]);
    for backend in [Some(cpu()), adapter()].into_iter().flatten() {
        let positions = [0, 5, 63, 64, 65];
        let layout = packed_augment(&text, &positions, latents, ahead).expect("it fits");
        let rows = layout.rows() as usize;
        let (q, k) = (values(rows * (heads * dim) as usize, 1.0), values(rows * (kv_heads * dim) as usize, 2.0));
        let v = values(k.len(), 3.0);
        let packed = run(&backend, &layout, [&q, &k, &v]);
        for (trace, at) in positions.into_iter().enumerate() {
            // The text up to the position, then the trace: one sequence, with nothing packed.
            let len = (latents + ahead) as usize;
            let own = text.len() + trace * len;
            let of = |x: &[f32], width: u32| {
                let width = width as usize;
                [&x[..(at as usize + 1) * width], &x[own * width..(own + len) * width]].concat()
            };
            let alone = packed_augment(&vec![0; at as usize + 1 + len], &[], latents, ahead).expect("it fits");
            let [q, k, v] = [of(&q, heads * dim), of(&k, kv_heads * dim), of(&v, kv_heads * dim)];
            let alone = run(&backend, &alone, [&q, &k, &v]);
            let width = (heads * dim) as usize;
            let wanted = &alone[(at as usize + 1) * width..];
            let got = &packed[own * width..(own + len) * width];
            assert_eq!(got.len(), wanted.len());
            let near = got.iter().zip(wanted).all(|(got, want)| (got - want).abs() < 2e-5);
            assert!(near, "trace {trace} at {at}");
        }
    }
}

#[test]
fn a_trace_sees_no_other_and_no_later_token() {
    let text: Vec<u32> = (0..40).collect();
    let [heads, kv_heads, dim] = SHAPE;
    for backend in [Some(cpu()), adapter()].into_iter().flatten() {
        let layout = packed_augment(&text, &[7, 20], 2, 3).expect("it fits");
        let rows = layout.rows() as usize;
        let (q, k) = (values(rows * (heads * dim) as usize, 1.0), values(rows * (kv_heads * dim) as usize, 2.0));
        let v = values(k.len(), 3.0);
        let before = run(&backend, &layout, [&q, &k, &v]);
        let width = (kv_heads * dim) as usize;
        let (mut k2, mut v2) = (k.clone(), v.clone());
        // Everything that the first trace may not see: the text behind its position, and the other trace.
        for row in (8..40).chain(45..50) {
            for x in [&mut k2, &mut v2] {
                x[row * width..(row + 1) * width].fill(3.5);
            }
        }
        let after = run(&backend, &layout, [&q, &k2, &v2]);
        let out = (heads * dim) as usize;
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&after[40 * out..45 * out]), bits(&before[40 * out..45 * out]));
        assert_eq!(bits(&after[..8 * out]), bits(&before[..8 * out]));
        assert_ne!(bits(&after[45 * out..]), bits(&before[45 * out..]));
    }
}

#[test]
fn a_layout_says_what_stands_where() {
    let layout = packed_augment(&[10, 11, 12, 13, 14], &[1, 2], 2, 2).expect("it fits");
    let none = NO_TOKEN;
    assert_eq!(layout.ids, [10, 11, 12, 13, 14, none, none, 12, 13, none, none, 13, 14]);
    assert_eq!(layout.positions, [0, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6]);
    assert_eq!(layout.groups, [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(layout.targets, [none, none, none, none, none, none, 12, 13, none, none, 13, 14, none]);
    assert!(matches!(packed_augment(&[1, 2], &[1], 1, 1), Err(Error::Config { .. })));
    assert!(matches!(packed_augment(&[1, 2], &[0], 0, 1), Err(Error::Config { .. })));
    assert!(matches!(packed_augment(&[1, 2], &[u32::MAX], u32::MAX, u32::MAX), Err(Error::Config { .. })));
}
