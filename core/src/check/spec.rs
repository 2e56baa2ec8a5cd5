//! From a case file's words to an op: the mapping that case files are defined by.
//!
//! A case names its `op` and its `params`, a JSON object of the op's settings by their names or letters. Sizes are read off
//! the shapes of the tensors, types off their types. An option that an argument belongs to is on where the file has the
//! argument, or for an output the expectation. `routing` is the one case of several ops: `route` and `selected_attention`.

use crate::error::{Error, Result};
use crate::weights::{Checkpoint, TensorInfo};
use foveate_kernels::ops::Op;
use foveate_kernels::ops::settings::{
    Argument, Request, SettingError, Sizes, Source, Table, Type, Value, nearest, parse as parse_value, table,
};
use foveate_kernels::plan::Access;
use foveate_kernels::{attention, delta, route, selected_attention, selected_attention_backward};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// `(argument, tensor)` where the two names differ.
type Names = Vec<(&'static str, &'static str)>;

/// The ops of a case in the order in which they run, and what computes their gradients. Each finds its inputs among what
/// those before it have written and in the file, and leaves its outputs, under the names of its arguments unless renamed.
pub(super) struct Case {
    pub(super) ops: Vec<(Op, Names)>,
    /// It reads what the ops have written, and `dout`.
    pub(super) backward: Option<(Op, Names)>,
}

/// A routed attention: several ops.
const ROUTING: &str = "routing";

/// `(op, argument, tensor)`: names that the first cases had.
const ALIASES: [(&str, &str, &str); 2] = [(attention::NAME, "lengths", "kv_len"), (delta::NAME, "state0", "state")];

/// The op that a file's `op` and `params` describe; as `Err` what is wrong with its name, where there is no such op.
///
/// # Errors
/// `Format` for a file that is no case.
pub(super) fn read(file: &Checkpoint) -> Result<Result<Case, String>> {
    let op = file.note("op").ok_or_else(|| bad("its metadata does not name an op"))?;
    let params = file.note("params").unwrap_or("{}");
    if op == ROUTING {
        return routing(file, params).map(Ok);
    }
    match table(op) {
        Ok(table) => single(file, table, params).map(Ok),
        Err(error) => Ok(Err(crate::error::one_line(&error.to_string()))),
    }
}

/// Returns a case of one op, and of its gradients if there is an op for them.
fn single(file: &Checkpoint, table: &'static Table, params: &str) -> Result<Case> {
    let params: Map<String, Json> = parse(params)?;
    if let Some(name) = params.keys().find(|name| table.field(name).is_none()) {
        let nearest = nearest(name, table.fields.iter().map(|field| field.name));
        let error = SettingError::Name { op: table.op, name: crate::error::one_line(name), nearest };
        return Err(bad(format!("params: {error}")));
    }
    let aliases = ALIASES.iter().filter(|(op, arg, tensor)| *op == table.op && !has(file, arg) && has(file, tensor));
    let names: Names = aliases.map(|&(_, argument, tensor)| (argument, tensor)).collect();
    let mut settings = Settings { file, params, names: &names, saved: Vec::new() };
    let mut op = settings.op(table)?;
    let gradients = Op::TABLES.iter().copied().find(|other| other.op.strip_suffix("_backward") == Some(table.op));
    let backward = gradients.map(|gradients| settings.op(gradients)).transpose()?;
    if let Some(backward) = backward.as_ref().filter(|op| has(file, "dout") && op.kernel().validate().is_ok()) {
        // Gradients read the outputs that the op saves.
        settings.saved = backward.kernel().args().iter().map(|arg| arg.name).collect();
        op = settings.op(table)?;
    }
    let backward = backward.map(|op| (op, names.clone()));
    Ok(Case { ops: vec![(op, names)], backward })
}

fn has(file: &Checkpoint, name: &str) -> bool {
    file.get(name).is_some()
}

/// The params of a case, and what its tensors tell of the settings that they leave out.
struct Settings<'a> {
    file: &'a Checkpoint,
    params: Map<String, Json>,
    names: &'a Names,
    /// Arguments that another op reads.
    saved: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    fn op(&mut self, table: &'static Table) -> Result<Op> {
        let sizes =
            |tensor: &TensorInfo| tensor.shape.iter().map(|&d| u32::try_from(d).ok()).collect::<Option<Vec<_>>>();
        let shape = |argument: &Argument| Some((argument.name.into(), self.tensor(argument.name).and_then(sizes)?));
        let shapes: Vec<(String, Vec<u32>)> = table.arguments.iter().filter_map(shape).collect();
        let read = table.read(&mut Sizes { source: self, shapes: &shapes });
        Ok(read.map_err(|error| bad(format!("params: {}", crate::error::one_line(&error.to_string()))))?.0)
    }

    fn tensor(&self, argument: &str) -> Option<&'a TensorInfo> {
        let renamed = self.names.iter().find(|(name, _)| *name == argument);
        self.file.get(renamed.map_or(argument, |(_, tensor)| tensor))
    }

    /// Returns `true` if the case has an argument: its input, an expectation of its output, or a gradient by that.
    fn has(&self, argument: &Argument) -> bool {
        let name = argument.name;
        match argument.access {
            Access::Write => {
                let given = has(self.file, &format!("want.{name}")) || has(self.file, &format!("d{name}"));
                given || self.saved.contains(&name)
            }
            _ => self.tensor(name).is_some(),
        }
    }
}

impl Source for Settings<'_> {
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError> {
        let &Request { table, field, .. } = request;
        if let Some((name, value)) = self.params.iter().find(|(name, _)| field.is(name)) {
            let text = match value {
                Json::Null => "none".into(),
                Json::String(word) => word.clone(),
                other => other.to_string(),
            };
            return parse_value(table, field, name, &text).map(Some);
        }
        match field.kind {
            Type::Flag => {
                let mut arguments = table.arguments.iter().filter(|argument| argument.when() == Some(field.name));
                let first = arguments.next();
                Ok(first.map(|first| Value::Flag(self.has(first) || arguments.any(|argument| self.has(argument)))))
            }
            Type::Format => {
                let tensors = table.arguments.iter().filter(|argument| argument.dtype == field.name);
                let mut stored = tensors.filter_map(|argument| self.tensor(argument.name)?.dtype().ok());
                Ok(stored.next().map(Value::format))
            }
            _ => Ok(None),
        }
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
struct Routing {
    selection: String,
    window: u32,
    causal: bool,
    shared_qk: bool,
    normalize_k: bool,
    self_mask: String,
    self_mask_value: f32,
    combine: String,
    combine_eps: f32,
    scale: f32,
}

/// Returns the value of a word.
fn word<T: Copy>(param: &str, text: &str, words: &[(&str, T)]) -> Result<T> {
    let names = || words.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    let wrong = || bad(format!("params: {param} must be {}, got {}", names(), crate::error::one_line(text)));
    words.iter().find(|(name, _)| *name == text).map(|&(_, value)| value).ok_or_else(wrong)
}

fn zip<T: Copy, const N: usize>(names: [&'static str; N], values: [T; N]) -> [(&'static str, T); N] {
    std::array::from_fn(|i| (names[i], values[i]))
}

/// Queries are routed, keys too unless they are the queries, and then they attend.
fn routing(file: &Checkpoint, params: &str) -> Result<Case> {
    use selected_attention::{Combine, Keys, Own};
    let params: Routing = parse(params)?;
    let [batch, tokens, heads, dim] = shape(file, "q")?;
    let [_, key_tokens, _, value_dim] = shape(file, "v")?;
    let [_, clusters, _] = shape(file, "centroids")?;
    let memory = if file.get("memory_k").is_some() { shape::<4>(file, "memory_k")?[2] } else { 0 };
    let queries = route::Spec::new(batch, tokens, heads, dim, clusters, params.window)
        .with_selection(word("selection", &params.selection, &zip(route::Selection::NAMES, route::Selection::ALL))?)
        .with_scores(true);
    let keys = queries.with_tokens(key_tokens).with_scores(false);
    let mut ops: Vec<(Op, Names)> = vec![(queries.into(), vec![("x", "q")])];
    let kind = match params.shared_qk {
        true => Keys::Shared { normalize: params.normalize_k },
        false if params.normalize_k => return Err(bad("normalize_k is for keys that are the queries")),
        false => {
            ops.push((
                keys.into(),
                vec![("x", "k"), ("members", "k_members"), ("ranges", "k_ranges"), ("until", "k_until")],
            ));
            Keys::Separate { tokens: key_tokens, entries: keys.entries()? }
        }
    };
    let spec = selected_attention::Spec::new(batch, tokens, heads, dim, clusters, queries.entries()?)
        .with_value_dim(value_dim)
        .with_keys(kind)
        .with_scale(params.scale)
        .with_causal(params.causal)
        .with_expires(queries.expires())
        .with_own(word(
            "self_mask",
            &params.self_mask,
            &[
                ("none", Own::Included),
                ("last_resort", Own::LastResort(params.self_mask_value)),
                ("excluded", Own::Excluded),
            ],
        )?)
        .with_memory(memory)
        .with_combine(word(
            "combine",
            &params.combine,
            &[("mean", Combine::Mean { eps: params.combine_eps }), ("weighted", Combine::Weighted)],
        )?)
        .with_save(file.get("dout").is_some());
    let names: Names = if params.shared_qk { Vec::new() } else { vec![("until", "k_until")] };
    ops.push((spec.into(), names.clone()));
    let backward = selected_attention_backward::Spec::new(spec);
    Ok(Case { ops, backward: Some((backward.into(), names)) })
}
