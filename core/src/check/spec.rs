//! From a case file's words to an op: the mapping that case files are defined by.

use crate::error::{Error, Result};
use crate::weights::Checkpoint;
use foveate_kernels::op::Op;
use foveate_kernels::{attention, attention_backward, delta, delta_backward};
use serde::Deserialize;

/// An op, what computes its gradients, and which tensor of the file each of their inputs is called.
pub(super) struct Case {
    pub(super) op: Op,
    /// It reads what the op has written, and `dout`.
    pub(super) backward: Option<Op>,
    /// `(argument, tensor)` where the two names differ.
    pub(super) renamed: &'static [(&'static str, &'static str)],
}

/// What the mapping knows.
const OPS: [&str; 2] = [attention::NAME, delta::NAME];

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
    let backward = attention_backward::Spec { forward: spec };
    Ok(Case { op: spec.into(), backward: Some(backward.into()), renamed: &[("lengths", "kv_len")] })
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
    chunk: Option<u32>,
}

fn delta(file: &Checkpoint, params: &str) -> Result<Case> {
    let Delta { gate, scale, normalize, chunk } = parse(params)?;
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
        chunk,
        ..delta::Spec::new(batch, tokens, heads, key_dim, value_dim)
    };
    let backward = delta_backward::Spec { forward: spec };
    Ok(Case { op: spec.into(), backward: Some(backward.into()), renamed: &[("state0", "state")] })
}
