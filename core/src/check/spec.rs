//! From a case file's words to an op: the mapping that case files are defined by.

use crate::error::{Error, Result};
use crate::weights::Checkpoint;
use foveate_kernels::ops::Op;
use foveate_kernels::{
    attention, attention_backward, delta, delta_backward, route, selected_attention, selected_attention_backward,
};
use serde::Deserialize;

/// `(argument, tensor)` where the two names differ.
type Names = &'static [(&'static str, &'static str)];

/// The ops of a case in the order in which they run, and what computes their gradients. Each finds its inputs among what
/// those before it have written and in the file, and leaves its outputs, under the names of its arguments unless renamed.
pub(super) struct Case {
    pub(super) ops: Vec<(Op, Names)>,
    /// It reads what the ops have written, and `dout`.
    pub(super) backward: Option<(Op, Names)>,
}

/// What the mapping knows.
const OPS: [&str; 3] = [attention::NAME, delta::NAME, "routing"];

/// The op that a file's `op` and `params` describe; as `Err` its name, where the mapping does not know it.
///
/// # Errors
/// `Format` for a file that is no case.
pub(super) fn read(file: &Checkpoint) -> Result<Result<Case, String>> {
    let op = file.note("op").ok_or_else(|| bad("its metadata does not name an op"))?;
    let params = file.note("params").unwrap_or("{}");
    match op {
        attention::NAME => attention(file, params).map(Ok),
        delta::NAME => delta(file, params).map(Ok),
        "routing" => routing(file, params).map(Ok),
        other => Ok(Err(format!("op {} is not implemented, {} is", crate::error::one_line(other), OPS.join(", ")))),
    }
}

pub(super) fn bad(reason: impl Into<String>) -> Error {
    Error::format("case", reason)
}

fn parse<'a, T: Deserialize<'a>>(params: &'a str) -> Result<T> {
    serde_json::from_str(params).map_err(|e| bad(format!("params: {}", crate::error::one_line(&e.to_string()))))
}

/// The dimensions of a tensor that must be there.
fn shape<const N: usize>(file: &Checkpoint, name: &str) -> Result<[u32; N]> {
    let tensor = file.get(name).ok_or_else(|| bad(format!("{name} is missing")))?;
    let dims: Option<Vec<u32>> = tensor.shape.iter().map(|&d| u32::try_from(d).ok()).collect();
    let dims = dims.and_then(|dims| dims.try_into().ok());
    dims.ok_or_else(|| bad(format!("{name} must have {N} dimensions, it has shape {:?}", tensor.shape)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attention {
    causal: bool,
    scale: f32,
    window: Option<u32>,
    softcap: Option<f32>,
}

fn attention(file: &Checkpoint, params: &str) -> Result<Case> {
    let Attention { causal, scale, window, softcap } = parse(params)?;
    let [batch, queries, heads, dim] = shape(file, "q")?;
    let [_, keys, kv_heads, _] = shape(file, "k")?;
    let [_, _, _, value_dim] = shape(file, "v")?;
    let has = |name| file.get(name).is_some();
    let bias = match has("bias") {
        true => shape::<4>(file, "bias").map(|[b, h, ..]| Some(attention::Bias { batch: b != 1, heads: h != 1 }))?,
        false => None,
    };
    let spec = attention::Spec {
        value_dim,
        scale,
        causal,
        window,
        softcap,
        alibi: has("alibi"),
        bias,
        sinks: has("sinks"),
        lengths: has("kv_len"),
        lse: has("want.lse") || has("dout"),
        ..attention::Spec::causal(batch, queries, keys, heads, kv_heads, dim)
    };
    let names: Names = &[("lengths", "kv_len")];
    let backward = attention_backward::Spec { forward: spec };
    Ok(Case { ops: vec![(spec.into(), names)], backward: Some((backward.into(), names)) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Routing {
    selection: Selection,
    window: u32,
    causal: bool,
    shared_qk: bool,
    normalize_k: bool,
    self_mask: SelfMask,
    self_mask_value: f32,
    combine: Combine,
    combine_eps: f32,
    scale: f32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Selection {
    Balanced,
    Prefix,
    Nearest,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum SelfMask {
    None,
    LastResort,
    Excluded,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Combine {
    Mean,
    Weighted,
}

/// Queries are routed, keys too unless they are the queries, and then they attend.
fn routing(file: &Checkpoint, params: &str) -> Result<Case> {
    use selected_attention::{Combine as Combined, Keys, Own};
    let params: Routing = parse(params)?;
    let [batch, tokens, heads, dim] = shape(file, "q")?;
    let [_, key_tokens, _, value_dim] = shape(file, "v")?;
    let [_, clusters, _] = shape(file, "centroids")?;
    let memory = if file.get("memory_k").is_some() { shape::<4>(file, "memory_k")?[2] } else { 0 };
    let queries = route::Spec {
        batch,
        tokens,
        heads,
        dim,
        clusters,
        window: params.window,
        norm: route::Norm::L2,
        selection: match params.selection {
            Selection::Balanced => route::Selection::Balanced,
            Selection::Prefix => route::Selection::Prefix,
            Selection::Nearest => route::Selection::Nearest,
        },
        scores: true,
        lengths: false,
    };
    let keys = route::Spec { tokens: key_tokens, scores: false, ..queries };
    let mut ops: Vec<(Op, Names)> = vec![(queries.into(), &[("x", "q")])];
    let kind = match params.shared_qk {
        true => Keys::Shared { normalize: params.normalize_k },
        false if params.normalize_k => return Err(bad("normalize_k is for keys that are the queries")),
        false => {
            ops.push((
                keys.into(),
                &[("x", "k"), ("members", "k_members"), ("ranges", "k_ranges"), ("until", "k_until")],
            ));
            Keys::Separate { tokens: key_tokens, entries: keys.entries()? }
        }
    };
    let spec = selected_attention::Spec {
        batch,
        tokens,
        heads,
        dim,
        value_dim,
        clusters,
        entries: queries.entries()?,
        keys: kind,
        scale: params.scale,
        causal: params.causal,
        expires: queries.expires(),
        offset: false,
        paged: None,
        own: match params.self_mask {
            SelfMask::None => Own::Included,
            SelfMask::LastResort => Own::LastResort(params.self_mask_value),
            SelfMask::Excluded => Own::Excluded,
        },
        memory,
        combine: match params.combine {
            Combine::Mean => Combined::Mean { eps: params.combine_eps },
            Combine::Weighted => Combined::Weighted,
        },
        save: file.get("dout").is_some(),
    };
    let names: Names = if params.shared_qk { &[] } else { &[("until", "k_until")] };
    ops.push((spec.into(), names));
    let backward = selected_attention_backward::Spec { forward: spec };
    Ok(Case { ops, backward: Some((backward.into(), names)) })
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Gate {
    None,
    Head,
    Channel,
    EraseWrite,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delta {
    gate: Gate,
    scale: f32,
    #[serde(default)]
    normalize: bool,
}

fn delta(file: &Checkpoint, params: &str) -> Result<Case> {
    let Delta { gate, scale, normalize } = parse(params)?;
    let [batch, tokens, heads, key_dim] = shape(file, "q")?;
    let [_, _, value_heads, value_dim] = shape(file, "v")?;
    let has = |name| file.get(name).is_some();
    let packed = if has("cu") { Some(shape::<1>(file, "cu")?[0].saturating_sub(1)) } else { None };
    let spec = delta::Spec {
        value_heads,
        scale,
        gate: match gate {
            Gate::None => delta::Gate::None,
            Gate::Head => delta::Gate::Head,
            Gate::Channel => delta::Gate::Channel,
            Gate::EraseWrite => delta::Gate::EraseWrite,
        },
        normalize,
        packed,
        initial: has("state"),
        last: has("want.state") || has("dstate"),
        ..delta::Spec::new(batch, tokens, heads, key_dim, value_dim)
    };
    let names: Names = &[("state0", "state")];
    let backward = delta_backward::Spec { forward: spec };
    Ok(Case { ops: vec![(spec.into(), names)], backward: Some((backward.into(), names)) })
}
