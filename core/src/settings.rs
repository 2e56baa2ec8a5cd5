//! From `name=value` pairs to an op: any shape, in the words of the specs and in the letters of their shapes.

mod values;

use crate::error::{Error, Result};
use foveate_kernels::attention::{self, Bias, Packed, Pages};
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::Arg;
use foveate_kernels::{
    activation, append, attention_backward, centroids, conv, conv_backward, delta, delta_backward, delta_gates, embed,
    fused_linear, linear, merge, norm, rope, rope_append, route, route_step, sample, selected_attention,
    selected_attention_backward,
};
use values::Values;

/// The op of this name with these settings, `T=1024,heads=8`; what is not named has a default, and strides are dense.
///
/// # Errors
/// `Config` for a name that is no op or no setting of it, or a value that can't be read; the op's own error for a spec that
/// is not valid.
pub fn op(name: &str, settings: &str) -> Result<Op> {
    let mut values = Values::new(name, settings)?;
    let op = spec(name, &mut values)?;
    values.finish()?;
    op.kernel().validate()?;
    Ok(op)
}

/// The same, with the sizes that `settings` leaves out read off the shapes of the arguments that `shapes` names, as far as
/// they show there.
///
/// # Errors
/// As [`op`]. That every shape is the op's own is for [`Op::check`] to see.
pub fn fitted(name: &str, settings: &str, shapes: &[(String, Vec<u32>)]) -> Result<Op> {
    let mut values = Values::new(name, settings)?;
    spec(name, &mut values)?;
    let mut sizes: Vec<(&str, u32)> = Vec::new();
    for names in values.known.iter().filter(|names| !values.given(names)) {
        let own = names.split('|').next_back().unwrap_or(names);
        // A size is found where it shows: by an unusual one, in shapes that are only looked at. Some must divide others,
        // or be multiples of them.
        let probes = [(PROBE, None), (PROBE, Some(2 * PROBE)), (2 * PROBE, Some(PROBE))];
        let size = probes.into_iter().find_map(|(probe, others)| {
            let others = sizes.iter().map(|&(name, size)| (name, others.unwrap_or(size)));
            let probed = op(name, &with(settings, others.chain([(own, probe)]))).ok()?;
            probed.kernel().args().iter().find_map(|arg| shown(arg, probe, shapes))
        });
        sizes.extend(size.map(|size| (own, size)));
    }
    op(name, &with(settings, sizes.into_iter()))
}

/// A prime that no default and hardly a caller has.
const PROBE: u32 = 31;

/// More settings behind those that are there.
fn with<'a>(settings: &str, more: impl Iterator<Item = (&'a str, u32)>) -> String {
    more.fold(settings.to_owned(), |all, (name, size)| format!("{all},{name}={size}"))
}

/// The size at the place where an argument's shape has `probe`.
fn shown(arg: &Arg, probe: u32, shapes: &[(String, Vec<u32>)]) -> Option<u32> {
    let (_, given) = shapes.iter().find(|(name, _)| name == arg.name)?;
    let axis = arg.shape.iter().position(|&size| size == probe)?;
    given.get(axis).copied().filter(|_| given.len() == arg.shape.len())
}

fn spec(name: &str, v: &mut Values) -> Result<Op> {
    Ok(match name {
        activation::NAME => activation(v)?.into(),
        attention::NAME => attention(v)?.into(),
        attention_backward::NAME => attention_backward::Spec { forward: attention(v)? }.into(),
        append::NAME => append(v)?.into(),
        centroids::NAME => centroids(v)?.into(),
        delta::NAME => delta(v)?.into(),
        conv::NAME => conv(v)?.into(),
        conv_backward::NAME => conv_backward::Spec { forward: conv(v)? }.into(),
        delta_gates::NAME => gates(v)?.into(),
        delta_backward::NAME => delta_backward::Spec { forward: delta(v)? }.into(),
        embed::NAME => embed(v)?.into(),
        fused_linear::NAME => fused_linear(v)?.into(),
        linear::NAME => linear(v)?.into(),
        merge::NAME => merge(v)?.into(),
        norm::NAME => norm(v)?.into(),
        rope::NAME => rope(v)?.into(),
        rope_append::NAME => rope_append(v)?.into(),
        route::NAME => route(v, 1024, route::Selection::Balanced)?.into(),
        route_step::NAME => route_step::Spec { route: route(v, 1, route::Selection::Prefix)? }.into(),
        sample::NAME => sample(v)?.into(),
        selected_attention::NAME => selected_attention(v)?.into(),
        selected_attention_backward::NAME => {
            selected_attention_backward::Spec { forward: selected_attention(v)? }.into()
        }
        _ => {
            let reason = format!("there is no op {name}; there are {}", Op::NAMES.join(", "));
            return Err(Error::Config { reason });
        }
    })
}

fn activation(v: &mut Values) -> Result<activation::Spec> {
    let (rows, dim) = (v.get("T|rows", 256)?, v.get("dim", 1536u32)?);
    let kind = v.get("kind", activation::Kind::Silu)?;
    let gated = v.get("gated", true)?;
    let width = if gated { dim.saturating_mul(2) } else { dim };
    let scales = v.get("scales", false)?;
    Ok(activation::Spec { rows, dim, kind, gated, scales, stride: v.get("stride", width)? })
}

/// Pages of keys, of sequences that are all as long as the longest.
fn pages(v: &mut Values, batch: u32, keys: u32) -> Result<Option<Pages>> {
    Ok(v.get("page", None::<u32>)?.map(|page| {
        let width = keys.div_ceil(page.max(1));
        Pages { pages: batch.saturating_mul(width).max(1), page, width }
    }))
}

fn attention(v: &mut Values) -> Result<attention::Spec> {
    let (batch, queries) = (v.get("B|batch", 1u32)?, v.get("T|queries", 1024)?);
    let keys = v.get("S|keys", queries)?;
    let heads = v.get("H|heads", 8)?;
    let (kv_heads, dim) = (v.get("G|kv_heads", heads)?, v.get("D|dim", 64)?);
    let dense = attention::Spec::causal(batch, queries, keys, heads, kv_heads, dim);
    let paged = pages(v, batch, keys)?;
    // The same without padding.
    let packed = v
        .get("packed", false)?
        .then(|| Packed { queries: batch.saturating_mul(queries), keys: batch.saturating_mul(keys) });
    Ok(attention::Spec {
        value_dim: v.get("V|value_dim", dim)?,
        scale: v.get("scale", dense.scale)?,
        causal: v.get("causal", true)?,
        window: v.get("W|window", None)?,
        softcap: v.get("softcap", None)?,
        alibi: v.get("alibi", false)?,
        bias: v.get("bias", false)?.then_some(Bias { batch: true, heads: true }),
        sinks: v.get("sinks", false)?,
        lengths: v.get("lengths", false)?,
        q_stride: v.get("q_stride", dense.q_stride)?,
        lse: v.get("lse", false)?,
        paged,
        packed,
        kv: v.get("kv", DType::F32)?,
        ..dense
    })
}

fn append(v: &mut Values) -> Result<append::Spec> {
    let (tokens, pool) = (v.get("T|tokens", 256)?, v.get("pool", 2048)?);
    let k_width = v.get("k_width", 192)?;
    let v_width = v.get("v_width", k_width)?;
    let (k_stride, v_stride) = (v.get("k_stride", k_width)?, v.get("v_stride", v_width)?);
    let format = v.get("format", DType::F32)?;
    Ok(append::Spec { tokens, pool, k_width, v_width, k_stride, v_stride, format })
}

fn centroids(v: &mut Values) -> Result<centroids::Spec> {
    let (batch, tokens) = (v.get("B|batch", 1)?, v.get("T|tokens", 1024u32)?);
    Ok(centroids::Spec {
        batch,
        tokens,
        heads: v.get("H|heads", 8)?,
        dim: v.get("D|dim", 64)?,
        clusters: v.get("C|clusters", tokens.isqrt().max(1))?,
        norm: v.get("norm", route::Norm::L2)?,
        update: v.get("update", centroids::Update::Counted)?,
        decay: v.get("decay", 0.999)?,
        commitment: v.get("commitment", Some(1e-4))?,
        lengths: v.get("lengths", false)?,
    })
}

fn delta(v: &mut Values) -> Result<delta::Spec> {
    let (batch, tokens) = (v.get("B|batch", 1u32)?, v.get("T|tokens", 1024)?);
    let heads = v.get("H|heads", 8)?;
    let (key_dim, value_dim) = (v.get("K|key_dim", 64)?, v.get("V|value_dim", 64)?);
    let plain = delta::Spec::new(batch, tokens, heads, key_dim, value_dim);
    Ok(delta::Spec {
        value_heads: v.get("HV|value_heads", heads)?,
        scale: v.get("scale", plain.scale)?,
        gate: v.get("gate", delta::Gate::Head)?,
        normalize: v.get("normalize", false)?,
        packed: v.get("packed", None)?,
        initial: v.get("initial", false)?,
        last: v.get("last", false)?,
        pool: v.get("pool", None)?,
        chunk: v.get("chunk", None)?,
        ..plain
    })
}

fn conv(v: &mut Values) -> Result<conv::Spec> {
    let (batch, tokens) = (v.get("B|batch", 1u32)?, v.get("T|tokens", 256)?);
    let (channels, window) = (v.get("channels", 6144)?, v.get("W|window", 4)?);
    Ok(conv::Spec {
        bias: v.get("bias", false)?,
        stride: v.get("stride", channels)?,
        packed: v.get("packed", None)?,
        initial: v.get("initial", false)?,
        last: v.get("last", false)?,
        pool: v.get("pool", None)?,
        ..conv::Spec::new(batch, tokens, channels, window, v.get("activation", conv::Activation::Silu)?)
    })
}

fn gates(v: &mut Values) -> Result<delta_gates::Spec> {
    let (rows, heads) = (v.get("T|rows", 256)?, v.get("HV|heads", 16u32)?);
    let channels = v.get("channels", 1u32)?;
    let (stride, a_stride) = (v.get("stride", heads)?, v.get("a_stride", heads.saturating_mul(channels))?);
    let decay = v.get("decay", true)?.then_some(delta_gates::Decay { channels, stride: a_stride });
    Ok(delta_gates::Spec { rows, heads, negative: v.get("negative", false)?, stride, decay })
}

fn embed(v: &mut Values) -> Result<embed::Spec> {
    Ok(embed::Spec {
        tokens: v.get("T|tokens", 256)?,
        vocab: v.get("vocab", 49152)?,
        dim: v.get("dim", 576)?,
        format: v.get("format", DType::F32)?,
        scale: v.get("scale", 1.0)?,
        accumulate: v.get("accumulate", false)?,
    })
}

fn fused_linear(v: &mut Values) -> Result<fused_linear::Spec> {
    let (tokens, inputs) = (v.get("T|tokens", 1)?, v.get("K|inputs", 576)?);
    let (outputs, format) = (v.get("N|outputs", 1536)?, v.get("format", DType::F32)?);
    let (eps, one_plus) = (v.get("eps", 1e-5)?, v.get("one_plus", false)?);
    let gated = v.get("gated", true)?;
    let activation = v.get("kind", Some(activation::Kind::Silu))?;
    Ok(fused_linear::Spec {
        tokens,
        inputs,
        outputs,
        format,
        norm: v.get("norm", true)?.then_some(fused_linear::Norm { eps, one_plus }),
        bias: v.get("bias", false)?,
        activation: activation.map(|kind| fused_linear::Activation { kind, gated }),
        residual: v.get("residual", false)?,
        x_stride: v.get("x_stride", inputs)?,
        y_stride: v.get("y_stride", outputs)?,
    })
}

fn linear(v: &mut Values) -> Result<linear::Spec> {
    let (tokens, inputs) = (v.get("T|tokens", 256)?, v.get("K|inputs", 576)?);
    let (outputs, format) = (v.get("N|outputs", 1536)?, v.get("format", DType::F32)?);
    Ok(linear::Spec {
        bias: v.get("bias", false)?,
        x_stride: v.get("x_stride", inputs)?,
        y_stride: v.get("y_stride", outputs)?,
        ..linear::Spec::new(tokens, inputs, outputs, format)
    })
}

fn merge(v: &mut Values) -> Result<merge::Spec> {
    Ok(merge::Spec { segments: v.get("N|segments", 4)?, rows: v.get("rows", 2304)?, dim: v.get("V|dim", 64)? })
}

fn norm(v: &mut Values) -> Result<norm::Spec> {
    let (rows, groups, dim) = (v.get("T|rows", 256)?, v.get("groups", 1u32)?, v.get("dim", 576)?);
    Ok(norm::Spec {
        groups,
        kind: v.get("kind", norm::Kind::Rms)?,
        one_plus: v.get("one_plus", false)?,
        bias: v.get("bias", false)?,
        residual: v.get("residual", false)?,
        in_place: v.get("in_place", false)?,
        gate: match v.get("gated", false)? {
            true => Some(norm::Gate { kind: activation::Kind::Silu, stride: groups.saturating_mul(dim) }),
            false => None,
        },
        stride: v.get("stride", groups.saturating_mul(dim))?,
        ..norm::Spec::rms(rows, dim, v.get("eps", 1e-5)?)
    })
}

fn rope(v: &mut Values) -> Result<rope::Spec> {
    let (tokens, heads) = (v.get("T|tokens", 256)?, v.get("H|heads", 12u32)?);
    let dim = v.get("D|dim", 64)?;
    Ok(rope::Spec {
        tokens,
        heads,
        dim,
        rotary: v.get("rotary", dim)?,
        pairing: v.get("pairing", rope::Pairing::Half)?,
        positions: v.get("positions", tokens.max(1))?,
        stride: v.get("stride", heads.saturating_mul(dim))?,
    })
}

fn rope_append(v: &mut Values) -> Result<rope_append::Spec> {
    let (tokens, heads) = (v.get("T|tokens", 256)?, v.get("H|heads", 9u32)?);
    let (kv_heads, dim) = (v.get("G|kv_heads", heads)?, v.get("D|dim", 64u32)?);
    let width = heads.saturating_add(kv_heads.saturating_mul(2)).saturating_mul(dim);
    Ok(rope_append::Spec {
        tokens,
        heads,
        kv_heads,
        dim,
        rotary: v.get("rotary", dim)?,
        pairing: v.get("pairing", rope::Pairing::Half)?,
        positions: v.get("positions", tokens.max(1))?,
        pool: v.get("pool", 2048)?,
        stride: v.get("stride", width)?,
    })
}

/// `sqrt(T)` clusters of as many tokens, of a step as for 1024 tokens.
fn route(v: &mut Values, tokens: u32, selection: route::Selection) -> Result<route::Spec> {
    let (batch, tokens) = (v.get("B|batch", 1)?, v.get("T|tokens", tokens)?);
    let root = if v.op == route_step::NAME { 32 } else { tokens.isqrt().max(1) };
    Ok(route::Spec {
        batch,
        tokens,
        heads: v.get("H|heads", 8)?,
        dim: v.get("D|dim", 64)?,
        clusters: v.get("C|clusters", root)?,
        window: v.get("W|window", root)?,
        norm: v.get("norm", route::Norm::L2)?,
        selection: v.get("selection", selection)?,
        scores: v.get("scores", false)?,
        lengths: v.get("lengths", false)?,
    })
}

fn selected_attention(v: &mut Values) -> Result<selected_attention::Spec> {
    use selected_attention::{Combine, Keys, Own, Spec};
    let (batch, tokens) = (v.get("B|batch", 1)?, v.get("T|tokens", 1024u32)?);
    let (dim, clusters) = (v.get("D|dim", 64u32)?, v.get("C|clusters", tokens.isqrt().max(1))?);
    let entries = v.get("E|entries", tokens)?;
    let keys = match v.get("shared", true)? {
        true => Keys::Shared { normalize: v.get("normalize", true)? },
        false => Keys::Separate { tokens: v.get("S|key_tokens", tokens)?, entries: v.get("key_entries", entries)? },
    };
    let eps = v.get("eps", 1e-5)?;
    let key_tokens = if let Keys::Separate { tokens, .. } = keys { tokens } else { tokens };
    let paged = pages(v, batch, key_tokens)?;
    Ok(Spec {
        batch,
        tokens,
        heads: v.get("H|heads", 8)?,
        dim,
        value_dim: v.get("V|value_dim", dim)?,
        clusters,
        entries,
        keys,
        scale: v.get("scale", 1.0 / (dim.max(1) as f32).sqrt())?,
        causal: v.get("causal", true)?,
        expires: v.get("expires", false)?,
        offset: v.get("offset", false)?,
        paged,
        own: v.get("own_logit", None)?.map_or(Own::Included, Own::LastResort),
        memory: v.get("M|memory", 0)?,
        combine: if v.get("weighted", false)? { Combine::Weighted } else { Combine::Mean { eps } },
        save: v.get("save", false)?,
    })
}

fn sample(v: &mut Values) -> Result<sample::Spec> {
    let vocab = v.get("vocab", 49152)?;
    let temperature = v.get("temperature", 0.0)?;
    let draw = sample::Draw {
        temperature,
        top_k: v.get("top_k", 0)?,
        top_p: v.get("top_p", 1.0)?,
        min_p: v.get("min_p", 0.0)?,
        uniform: v.get("uniform", 0.37)?,
    };
    Ok(sample::Spec { vocab, draw: (temperature != 0.0).then_some(draw), penalty: v.get("penalty", 1.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_can_be_set() {
        for name in Op::NAMES {
            let op = op(name, "").unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(op.name(), *name);
        }
    }

    #[test]
    fn settings_reach_the_spec_and_dense_strides_follow() {
        let wanted = attention::Spec { causal: false, ..attention::Spec::causal(2, 1024, 1024, 8, 4, 80) };
        assert_eq!(
            op("attention", "B=2,queries=1024, H=8,kv_heads=4,dim=80,causal=false").expect("valid"),
            wanted.into()
        );
        let wanted = linear::Spec::new(1, 64, 128, DType::Q4_1);
        assert_eq!(op("linear", "T=1,K=64,N=128,format=q4_1").expect("valid"), wanted.into());
        let Op::Attention(paged) = op("attention", "T=1,S=100,page=64").expect("valid") else { panic!("another op") };
        assert_eq!(paged.paged, Some(Pages { pages: 2, page: 64, width: 2 }));
    }

    #[test]
    fn sizes_are_read_off_the_shapes_of_tensors() {
        let shapes = |named: &[(&str, &[u32])]| -> Vec<_> {
            named.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
        };
        let qkv = shapes(&[("q", &[2, 5, 6, 80]), ("k", &[2, 9, 3, 80]), ("v", &[2, 9, 3, 40])]);
        let wanted =
            attention::Spec { value_dim: 40, softcap: Some(2.0), ..attention::Spec::causal(2, 5, 9, 6, 3, 80) };
        assert_eq!(fitted("attention", "softcap=2", &qkv).expect("valid"), wanted.into());
        let grouped = shapes(&[("q", &[1, 7, 3, 16]), ("v", &[1, 7, 6, 8])]);
        let Op::Delta(delta) = fitted("delta", "", &grouped).expect("valid") else { panic!("another op") };
        assert_eq!((delta.tokens, delta.heads, delta.value_heads, delta.key_dim, delta.value_dim), (7, 3, 6, 16, 8));
        let weight = shapes(&[("x", &[3, 64]), ("weight", &[128, 64])]);
        assert_eq!(fitted("linear", "", &weight).expect("valid"), linear::Spec::new(3, 64, 128, DType::F32).into());
        // What was given stays, and what does not show has its default.
        let Op::Linear(given) = fitted("linear", "K=32", &weight).expect("valid") else { panic!("another op") };
        assert_eq!((given.tokens, given.inputs, given.outputs), (3, 32, 128));
    }

    #[test]
    fn wrong_settings_are_refused_before_anything_is_made() {
        for (name, settings, words) in [
            ("convolution", "", "there is no op convolution; there are embed, linear, fused_linear"),
            ("attention", "T", "must be NAME=VALUE, got T"),
            ("attention", "T=-1", "attention: T must be a whole number below 2^32, got -1"),
            ("attention", "T=99999999999", "below 2^32, got 99999999999"),
            ("attention", "tokens=4", "attention has no setting tokens; it has B|batch, T|queries"),
            ("attention", "T=4,queries=4", "T must be given once"),
            ("attention", "causal=yes", "true or false, got yes"),
            ("attention", "H=3,G=2", "attention: heads must be a multiple of kv_heads"),
            ("attention", "page=0", "attention: page must be a power of two"),
            ("linear", "format=q9", "or q4_k or q5_k or q6_k, got q9"),
            ("linear", "T=4294967295,K=4294967295", "at most 4294967295 elements"),
            ("norm", "eps=nan", "norm: eps must be finite"),
        ] {
            let error = op(name, settings).expect_err(settings).to_string();
            assert!(error.contains(words), "{name} {settings}: {error}");
        }
    }
}
