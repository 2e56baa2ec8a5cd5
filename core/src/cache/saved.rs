//! A sequence's cache as bytes: a safetensors file.
//!
//! | in `__metadata__` | |
//! |---|---|
//! | `format` | `foveate-cache-1` |
//! | `model` | fingerprint of the model's files |
//! | `kv` | how keys and values are stored |
//! | `rope` | rope parameters of every layer |
//! | `segments` | `[[kind, tokens, position], ...]` |
//! | `checksum` | FNV-1a of the texts above and of all tensors |
//!
//! | tensor | shape | type |
//! |---|---|---|
//! | `tokens` | `[n]` | u32, 4294967295 for an embedding |
//! | `states.I` | `[bytes]` | u8: what the `I`th buffer of states holds |
//! | `keys.I`, `values.I` of the `I`th layer that has them `I` | `[bytes]` | u8: rows of the pool, one a token |

use super::segment::Kind;
use super::sequence::NO_TOKEN;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::weights::{Checkpoint, Memory};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;

const FORMAT: &str = "foveate-cache-1";
const CHECKSUM: &str = "checksum";

/// What a saved cache holds, read and whole; whether it fits a model is another question.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved {
    pub model: String,
    pub kv: String,
    pub rope: String,
    pub tokens: Vec<u32>,
    /// Kind, tokens and position of each.
    pub segments: Vec<(Kind, u32, u32)>,
    /// Rows of keys and of values, layer by layer.
    pub layers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of the layers that have states.
    pub states: Vec<Vec<u8>>,
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::format("the saved cache", reason)
}

impl Saved {
    fn notes(&self) -> HashMap<String, String> {
        let segments: Vec<_> = self.segments.iter().map(|(kind, len, at)| (kind.name(), len, at)).collect();
        let segments = serde_json::to_string(&segments).unwrap_or_default();
        [("format", FORMAT), ("model", &self.model), ("kv", &self.kv), ("rope", &self.rope), ("segments", &segments)]
            .map(|(key, text)| (key.to_string(), text.to_string()))
            .into()
    }

    fn checksum(&self) -> String {
        let (mut hash, notes) = (Hash::default(), self.notes());
        for key in ["format", "model", "kv", "rope", "segments"] {
            hash.add(notes[key].as_bytes());
        }
        hash.add(bytemuck::cast_slice(&self.tokens));
        self.layers.iter().flat_map(|(k, v)| [k, v]).for_each(|rows| hash.add(rows));
        self.states.iter().for_each(|state| hash.add(state));
        hash.text()
    }

    /// The file.
    ///
    /// # Errors
    /// `Format` if it can't be written.
    pub fn write(&self) -> Result<Vec<u8>> {
        let mut notes = self.notes();
        notes.insert(CHECKSUM.into(), self.checksum());
        let view = |dtype, len, bytes| TensorView::new(dtype, vec![len], bytes).map_err(|e| damaged(e.to_string()));
        let ids: &[u8] = bytemuck::cast_slice(&self.tokens);
        let mut tensors = vec![("tokens".to_string(), view(Dtype::U32, self.tokens.len(), ids)?)];
        for (i, (keys, values)) in self.layers.iter().enumerate() {
            tensors.push((format!("keys.{i}"), view(Dtype::U8, keys.len(), keys)?));
            tensors.push((format!("values.{i}"), view(Dtype::U8, values.len(), values)?));
        }
        for (i, state) in self.states.iter().enumerate() {
            tensors.push((format!("states.{i}"), view(Dtype::U8, state.len(), state)?));
        }
        safetensors::serialize(tensors, Some(notes)).map_err(|e| damaged(e.to_string()))
    }

    /// Reads a file that anyone may have written.
    ///
    /// # Errors
    /// `Format` for bytes that are damaged or no saved cache; `CacheMismatch` for another version of the format.
    pub async fn read(bytes: Vec<u8>) -> Result<Self> {
        let file = Checkpoint::safetensors(vec![Box::new(Memory::new("the saved cache", bytes))]).await?;
        let note = |key: &str| file.note(key).map(String::from).ok_or_else(|| damaged(format!("it has no {key}")));
        let format = note("format")?;
        if format != FORMAT {
            let got = crate::error::one_line(&format);
            return Err(Error::CacheMismatch { what: "the format", expected: FORMAT.into(), got });
        }
        let tensor = async |name: String| match file.get(&name) {
            Some(tensor) => file.read(tensor, 0, tensor.bytes).await.map(Some),
            None => Ok(None),
        };
        let ids = tensor("tokens".into()).await?.ok_or_else(|| damaged("it has no tokens"))?;
        if !ids.len().is_multiple_of(4) {
            return Err(damaged("its tokens are no whole numbers"));
        }
        let mut layers = Vec::new();
        while let Some(keys) = tensor(format!("keys.{}", layers.len())).await? {
            let values = tensor(format!("values.{}", layers.len())).await?;
            layers.push((keys, values.ok_or_else(|| damaged("a layer has no values"))?));
        }
        let mut states = Vec::new();
        while let Some(state) = tensor(format!("states.{}", states.len())).await? {
            states.push(state);
        }
        let saved = Saved {
            states,
            model: note("model")?,
            kv: note("kv")?,
            rope: note("rope")?,
            tokens: bytemuck::pod_collect_to_vec(&ids),
            segments: segments(&note("segments")?)?,
            layers,
        };
        saved.consistent()?;
        match note(CHECKSUM)? == saved.checksum() {
            true => Ok(saved),
            false => Err(damaged("its checksum differs")),
        }
    }

    /// Segments follow each other, hold all tokens and nothing else, and only text has ids.
    fn consistent(&self) -> Result<()> {
        let (mut at, mut least) = (0usize, 0u64);
        for &(kind, len, position) in &self.segments {
            let end = at + len as usize;
            let tokens = self.tokens.get(at..end).filter(|t| !t.is_empty());
            let tokens = tokens.ok_or_else(|| damaged("its segments are not its tokens"))?;
            if tokens.iter().any(|id| (*id == NO_TOKEN) == (kind == Kind::Text)) {
                return Err(damaged("a segment holds what is not of its kind"));
            }
            if u64::from(position) < least {
                return Err(damaged("its positions go back"));
            }
            (at, least) = (end, u64::from(position) + u64::from(len));
        }
        match at == self.tokens.len() && least < u64::from(u32::MAX) {
            true => Ok(()),
            false => Err(damaged("its segments are not its tokens")),
        }
    }
}

fn segments(text: &str) -> Result<Vec<(Kind, u32, u32)>> {
    let rows: Vec<(String, u32, u32)> =
        serde_json::from_str(text).map_err(|_| damaged("its segments can't be read"))?;
    let kind = |name: &str| Kind::ALL.into_iter().find(|k| k.name() == name);
    let known = |(name, len, at): (String, u32, u32)| Some((kind(&name)?, len, at));
    rows.into_iter().map(known).collect::<Option<_>>().ok_or_else(|| damaged("a segment is of no known kind"))
}
