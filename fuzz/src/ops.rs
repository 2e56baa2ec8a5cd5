//! Arbitrary specs: validation and planning never panic, and where a spec is valid and small, the CPU executor gives what
//! the reference gives.

use arbitrary::{Result, Unstructured};
use foveate_core::host::HostBackend;
use foveate_core::kernels::attention::{Bias, Packed, Pages};
use foveate_core::kernels::rng::Rng;
use foveate_core::kernels::testing::{Tolerance, compare};
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::ops::Op;
use foveate_core::kernels::plan::Caps;
use foveate_core::kernels::rope::Pairing;
use foveate_core::kernels::{activation, attention, attention_backward, append, centroids, conv, conv_backward, delta, delta_backward, delta_gates, embed, fused_linear, linear, merge, norm, rope, rope_append, route, route_step, sample, selected_attention, selected_attention_backward};
use foveate_core::{Backend, Operand};

/// Mostly small, sometimes anything.
fn size(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.int_in_range(0..=15)? {
        0 => u.arbitrary()?,
        1 => u.int_in_range(0..=300)?,
        2 => 32 * u.int_in_range(0..=6)?,
        _ => u.int_in_range(0..=20)?,
    })
}

/// A stride that often fits a width.
fn stride(u: &mut Unstructured<'_>, width: u32) -> Result<u32> {
    Ok(if u.arbitrary()? { width.saturating_add(u.int_in_range(0..=5)?) } else { size(u)? })
}

/// Mostly of the usual size, sometimes anything that has all of its digits.
fn number(u: &mut Unstructured<'_>) -> Result<f32> {
    let x = if u.ratio(7, 8)? { u.int_in_range(0..=200)? as f32 / 100.0 } else { u.arbitrary()? };
    Ok(if x.is_subnormal() { 0.0 } else { x })
}

fn format(u: &mut Unstructured<'_>) -> Result<DType> {
    let all = [&DType::WEIGHTS[..], &[DType::I32, DType::U32]].concat();
    Ok(*u.choose(&all)?)
}

fn kind(u: &mut Unstructured<'_>) -> Result<activation::Kind> {
    use activation::Kind;
    Ok(*u.choose(&[Kind::Silu, Kind::Gelu, Kind::GeluTanh, Kind::Relu, Kind::Sigmoid])?)
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match u.int_in_range(0..=21)? {
        // embed: ids beyond the table among them.
        0 => {
            let (tokens, vocab, dim) = (size(u)?, size(u)?, size(u)?);
            let (format, scale, accumulate) = (format(u)?, number(u)?, u.arbitrary()?);
            embed::Spec { tokens, vocab, dim, format, scale, accumulate }.into()
        }
        // linear: every format, strided or not.
        1 => {
            let (tokens, inputs, outputs, format) = (size(u)?, size(u)?, size(u)?, format(u)?);
            let (x_stride, y_stride, bias) = (stride(u, inputs)?, stride(u, outputs)?, u.arbitrary()?);
            linear::Spec { tokens, inputs, outputs, format, bias, x_stride, y_stride }.into()
        }
        // norm: groups, residual, in place, gated.
        2 => {
            let (rows, groups, dim) = (size(u)?, size(u)?, size(u)?);
            norm::Spec {
                rows,
                groups,
                dim,
                kind: *u.choose(&[norm::Kind::Rms, norm::Kind::Layer])?,
                eps: number(u)?,
                one_plus: u.arbitrary()?,
                bias: u.arbitrary()?,
                residual: u.arbitrary()?,
                in_place: u.arbitrary()?,
                gate: match u.arbitrary()? {
                    true => Some(norm::Gate { kind: kind(u)?, stride: stride(u, groups.saturating_mul(dim))? }),
                    false => None,
                },
                stride: stride(u, groups.saturating_mul(dim))?,
            }
            .into()
        }
        // rope: both pairings, partial.
        3 => {
            let (tokens, heads, dim) = (size(u)?, size(u)?, size(u)?);
            rope::Spec {
                tokens,
                heads,
                dim,
                rotary: if u.arbitrary()? { dim / 2 * 2 } else { size(u)? },
                pairing: *u.choose(&[Pairing::Half, Pairing::Interleaved])?,
                positions: size(u)?,
                stride: stride(u, heads.saturating_mul(dim))?,
            }
            .into()
        }
        // activation: plain, gated and scaling.
        4 => {
            let (rows, dim, kind, gated) = (size(u)?, size(u)?, kind(u)?, u.arbitrary()?);
            activation::Spec {
                rows,
                dim,
                kind,
                gated,
                scales: u.ratio(1, 4)?,
                stride: stride(u, dim.saturating_mul(1 + u32::from(gated)))?,
            }
            .into()
        }
        // attention: every option.
        5 => attention(u)?.into(),
        // append: slots past the pool among them.
        6 => {
            let (tokens, pool, k_width, v_width) = (size(u)?, size(u)?, size(u)?, size(u)?);
            let (k_stride, v_stride) = (stride(u, k_width)?, stride(u, v_width)?);
            append::Spec { tokens, pool, k_width, v_width, k_stride, v_stride, format: format(u)? }.into()
        }
        // attention_backward: every option, now and then those that it refuses.
        7 => {
            let forward = attention(u)?;
            // Weights are taken from saved logarithms, which must have digits behind the point.
            let forward = attention::Spec { scale: forward.scale.clamp(-1.0, 1.0), ..forward };
            let forward = match u.ratio(1, 8)? {
                true => forward,
                false => attention::Spec { paged: None, kv: DType::F32, ..forward },
            };
            attention_backward::Spec { forward }.into()
        }
        // merge: empty segments among them.
        8 => merge::Spec { segments: size(u)?, rows: size(u)?, dim: size(u)? }.into(),
        // fused_linear: every option.
        9 => {
            let tokens = if u.ratio(7, 8)? { u.int_in_range(0..=4)? } else { size(u)? };
            let (inputs, outputs, format) = (size(u)?, size(u)?, format(u)?);
            let norm = match u.arbitrary()? {
                true => Some(fused_linear::Norm { eps: number(u)?, one_plus: u.arbitrary()? }),
                false => None,
            };
            let activation = match u.arbitrary()? {
                true => Some(fused_linear::Activation { kind: kind(u)?, gated: u.arbitrary()? }),
                false => None,
            };
            let (bias, residual) = (u.arbitrary()?, u.arbitrary()?);
            let (x_stride, y_stride) = (stride(u, inputs)?, stride(u, outputs)?);
            fused_linear::Spec { tokens, inputs, outputs, format, norm, bias, activation, residual, x_stride, y_stride }
                .into()
        }
        // rope_append: both pairings, partial, slots past the pool among them.
        10 => {
            let (tokens, heads, kv_heads, dim) = (size(u)?, size(u)?, size(u)?, size(u)?);
            let width = heads.saturating_add(kv_heads.saturating_mul(2)).saturating_mul(dim);
            rope_append::Spec {
                tokens,
                heads,
                kv_heads,
                dim,
                rotary: if u.arbitrary()? { dim / 2 * 2 } else { size(u)? },
                pairing: *u.choose(&[Pairing::Half, Pairing::Interleaved])?,
                positions: size(u)?,
                pool: size(u)?,
                stride: stride(u, width)?,
            }
            .into()
        }
        // delta: every gate and option.
        11 => delta(u)?.into(),
        // delta_backward: the same, with a pool now and then, which it refuses.
        15 => delta_backward::Spec { forward: delta(u)? }.into(),
        // conv: every option, parts and states.
        17 => conv(u)?.into(),
        // conv_backward: the same, with a pool now and then, which it refuses.
        19 => conv_backward::Spec { forward: conv(u)? }.into(),
        // delta_gates: with and without decays.
        18 => {
            let (rows, heads, channels) = (size(u)?, size(u)?, size(u)?);
            let decay = match u.arbitrary()? {
                true => Some(delta_gates::Decay { channels, stride: stride(u, heads.saturating_mul(channels))? }),
                false => None,
            };
            delta_gates::Spec { rows, heads, negative: u.arbitrary()?, stride: stride(u, heads)?, decay }.into()
        }
        // route: every selection and norm.
        12 => route(u)?.into(),
        // route_step: the same from states of any number of tokens, now and then those that it refuses.
        20 => route_step::Spec { route: route(u)? }.into(),
        // centroids: every update and norm.
        21 => {
            use centroids::Update;
            let (batch, tokens, heads, dim, clusters) = (size(u)?, size(u)?, size(u)?, size(u)?, size(u)?);
            let update = *u.choose(&[Update::Counted, Update::Sums, Update::Unit, Update::Smoothed])?;
            let decay = number(u)?;
            centroids::Spec {
                batch,
                tokens,
                heads,
                dim,
                clusters,
                norm: *u.choose(&[route::Norm::None, route::Norm::L2, route::Norm::Layer])?,
                // Sums of few channels cancel, and the direction of what is left is that of the rounding.
                update: if update == Update::Unit && dim < 8 { Update::Sums } else { update },
                decay,
                commitment: if u.arbitrary()? { Some(number(u)?) } else { None },
                lengths: u.ratio(1, 4)?,
            }
            .into()
        }
        // selected_attention: every option.
        13 => selected(u)?.into(),
        // selected_attention_backward: every option.
        14 => {
            let forward = selected(u)?;
            // Weights are taken from saved logarithms, which must have digits behind the point.
            let paged = forward.paged.filter(|_| forward.scale < 0.1);
            let forward = selected_attention::Spec { scale: forward.scale.clamp(-1.0, 1.0), paged, ..forward };
            selected_attention_backward::Spec { forward }.into()
        }
        // sample: argmax, and draws of the likeliest.
        _ => {
            // Draws near a boundary may differ by rounding and are left to cases.
            let penalty = if u.arbitrary()? { 1.0 } else { number(u)? };
            let draw = match u.ratio(1, 8)? {
                true => Some(sample::Draw {
                    temperature: number(u)?,
                    top_k: 1,
                    top_p: number(u)?,
                    min_p: number(u)?,
                    uniform: number(u)?,
                }),
                false => None,
            };
            sample::Spec { vocab: size(u)?, draw, penalty }.into()
        }
    })
}

fn route(u: &mut Unstructured<'_>) -> Result<route::Spec> {
    use route::{Norm, Selection};
    Ok(route::Spec {
        batch: size(u)?,
        tokens: size(u)?,
        heads: size(u)?,
        dim: size(u)?,
        clusters: size(u)?,
        window: size(u)?,
        norm: *u.choose(&[Norm::None, Norm::L2, Norm::Layer])?,
        selection: *u.choose(&[Selection::Balanced, Selection::Prefix, Selection::Nearest])?,
        scores: u.ratio(1, 4)?,
        lengths: u.ratio(1, 4)?,
    })
}

fn selected(u: &mut Unstructured<'_>) -> Result<selected_attention::Spec> {
    use selected_attention::{Combine, Keys, Own};
    let dim = size(u)?;
    let keys = match u.arbitrary()? {
        true => Keys::Shared { normalize: u.arbitrary()? },
        false => Keys::Separate { tokens: size(u)?, entries: size(u)? },
    };
    // Now and then pages of shared keys, and memory slots beside pages, which are refused.
    let paged = match keys {
        Keys::Separate { tokens, .. } if u.arbitrary()? => Some(pages(u, tokens)?),
        Keys::Shared { .. } if u.ratio(1, 16)? => Some(pages(u, 9)?),
        _ => None,
    };
    Ok(selected_attention::Spec {
        batch: size(u)?,
        tokens: size(u)?,
        heads: size(u)?,
        dim,
        value_dim: if u.arbitrary()? { dim } else { size(u)? },
        clusters: size(u)?,
        entries: size(u)?,
        keys,
        scale: number(u)?,
        causal: u.arbitrary()?,
        expires: u.arbitrary()?,
        offset: u.ratio(1, 4)?,
        paged,
        own: *u.choose(&[Own::Included, Own::LastResort(-5e4), Own::Excluded])?,
        memory: if paged.is_some() && u.ratio(7, 8)? { 0 } else { size(u)? },
        combine: if u.arbitrary()? { Combine::Weighted } else { Combine::Mean { eps: number(u)? } },
        save: u.arbitrary()?,
    })
}

fn conv(u: &mut Unstructured<'_>) -> Result<conv::Spec> {
    let mut part = || Ok(conv::Part { channels: size(u)?, activation: *u.choose(&conv::Activation::ALL)? });
    let parts = [part()?, part()?, part()?];
    let channels = parts.iter().fold(0u32, |sum, part| sum.saturating_add(part.channels));
    let (initial, last) = (u.arbitrary()?, u.arbitrary()?);
    Ok(conv::Spec {
        batch: if u.arbitrary()? { 1 } else { size(u)? },
        tokens: size(u)?,
        parts,
        window: if u.ratio(7, 8)? { u.int_in_range(0..=17)? } else { size(u)? },
        bias: u.arbitrary()?,
        stride: stride(u, channels)?,
        packed: if u.arbitrary()? { Some(size(u)?) } else { None },
        initial,
        last,
        pool: if !initial && !last && u.arbitrary()? { Some(size(u)?) } else { None },
    })
}

fn delta(u: &mut Unstructured<'_>) -> Result<delta::Spec> {
    let heads = size(u)?;
    let (initial, last) = (u.arbitrary()?, u.arbitrary()?);
    Ok(delta::Spec {
        batch: if u.arbitrary()? { 1 } else { size(u)? },
        tokens: size(u)?,
        heads,
        value_heads: if u.arbitrary()? { heads.saturating_mul(u.int_in_range(1..=3)?) } else { size(u)? },
        key_dim: size(u)?,
        value_dim: size(u)?,
        // Larger ones leave f32, above all in gradients.
        scale: number(u)?.clamp(-1e6, 1e6),
        gate: *u.choose(&[delta::Gate::None, delta::Gate::Head, delta::Gate::Channel, delta::Gate::EraseWrite])?,
        normalize: u.arbitrary()?,
        packed: if u.arbitrary()? { Some(size(u)?) } else { None },
        initial,
        last,
        pool: if !initial && !last && u.arbitrary()? { Some(size(u)?) } else { None },
        chunk: if u.arbitrary()? { Some(u.int_in_range(1..=64)?) } else { None },
    })
}

/// Pages that mostly hold `keys`.
fn pages(u: &mut Unstructured<'_>, keys: u32) -> Result<Pages> {
    let page = if u.ratio(7, 8)? { 1 << u.int_in_range(0..=6)? } else { size(u)? };
    let width = if u.arbitrary()? { keys.div_ceil(page.max(1)) } else { size(u)? };
    Ok(Pages { pages: size(u)?, page, width })
}

fn attention(u: &mut Unstructured<'_>) -> Result<attention::Spec> {
    let (kv_heads, keys) = (size(u)?, size(u)?);
    let heads = if u.arbitrary()? { kv_heads.saturating_mul(u.int_in_range(1..=3)?) } else { size(u)? };
    let dim = size(u)?;
    let paged = if u.arbitrary()? { Some(pages(u, keys)?) } else { None };
    Ok(attention::Spec {
        batch: size(u)?,
        queries: size(u)?,
        keys,
        heads,
        kv_heads,
        dim,
        value_dim: if u.arbitrary()? { dim } else { size(u)? },
        scale: number(u)?,
        causal: u.arbitrary()?,
        window: if u.arbitrary()? { Some(size(u)?) } else { None },
        softcap: if u.arbitrary()? { Some(number(u)?) } else { None },
        alibi: u.arbitrary()?,
        bias: if u.arbitrary()? { Some(Bias { batch: u.arbitrary()?, heads: u.arbitrary()? }) } else { None },
        sinks: u.arbitrary()?,
        lengths: u.arbitrary()?,
        paged,
        packed: if u.arbitrary()? { Some(Packed { queries: size(u)?, keys: size(u)? }) } else { None },
        kv: if u.arbitrary()? { DType::F32 } else { format(u)? },
        q_stride: stride(u, heads.saturating_mul(dim))?,
        lse: u.arbitrary()?,
    })
}

/// Bytes of all arguments, and operations, of a spec that is run.
const BYTES: u64 = 1 << 20;
const FLOP: u64 = 4_000_000;

/// See the [module](self).
pub fn ops(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let Ok(op) = op(&mut u) else { return };
    let kernel = op.kernel();
    if kernel.validate().is_err() {
        return;
    }
    let args = kernel.args();
    let small = Caps::WEBGPU.with_binding_bytes(4096).with_buffer_bytes(4096).with_workgroups(64);
    let rich = Caps::WEBGPU.with_subgroups(4, 64).with_f16(true).with_workgroup_bytes(32768);
    let software = Caps::WEBGPU.with_software(true);
    for caps in [Caps::WEBGPU, small, rich, software] {
        if let Ok(plan) = kernel.plan(&caps) {
            for pass in plan.passes {
                pass.check(op.name(), &caps).expect("a plan fits the device that it is for");
            }
        }
    }
    let total = args.iter().fold(0u64, |sum, a| sum.saturating_add(a.bytes()));
    if total > BYTES || kernel.flop() > FLOP {
        return;
    }
    let inputs = kernel.inputs(&mut Rng::new(u.arbitrary().unwrap_or(0)));
    let (reference, cpu) =
        (run(&HostBackend::reference(), &op, &inputs), run(&HostBackend::exact_cpu(1), &op, &inputs));
    for ((arg, got), want) in args.iter().zip(&cpu).zip(&reference) {
        if arg.dtype != DType::F32 {
            assert_eq!(got, want, "{} of {op:?}", arg.name);
            continue;
        }
        let (got, want): (Vec<f32>, Vec<f32>) = (bytemuck::pod_collect_to_vec(got), bytemuck::pod_collect_to_vec(want));
        let gradient = matches!(op, Op::AttentionBackward(_) | Op::SelectedAttentionBackward(_) | Op::DeltaBackward(_));
        let tolerance = if gradient { Tolerance::EXECUTOR_GRADIENT } else { Tolerance::EXECUTOR };
        // Of a few numbers, one that cancels can be all: then only the elementwise bound means something.
        let few = want.iter().filter(|x| **x != 0.0).count() < 64;
        let relative_rms = if few { f64::INFINITY } else { tolerance.relative_rms };
        let found = compare(&got, &want, Tolerance { relative_rms, ..tolerance });
        assert!(found.within, "{} of {op:?}: {found}", arg.name);
    }
}

fn run(backend: &HostBackend, op: &Op, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let buffer = |bytes: &Vec<u8>| {
        let buffer = backend.alloc("fuzz", bytes.len() as u64).expect("a small buffer");
        backend.upload(&buffer, 0, bytes).expect("its own bytes");
        buffer
    };
    let buffers: Vec<_> = inputs.iter().map(buffer).collect();
    let operands: Vec<_> = buffers.iter().map(Operand::new).collect();
    backend.run_positional(op, &operands).expect("a valid spec runs");
    let download = |(b, i): (&_, &Vec<u8>)| pollster::block_on(backend.download(b, 0, i.len() as u64));
    buffers.iter().zip(inputs).map(|pair| download(pair).expect("its bytes")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start for those without a fuzzer: bytes from a generator.
    #[test]
    fn ops_hold_on_random_bytes() {
        for seed in 0..20_000 {
            let mut rng = Rng::new(seed);
            let bytes: Vec<u8> = (0..160).map(|_| rng.next_u64() as u8).collect();
            ops(&bytes);
        }
    }
}
