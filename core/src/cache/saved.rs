//! A sequence's cache as bytes: a safetensors file.
//!
//! `cache` in its `__metadata__` is an object of JSON:
//!
//! | key | |
//! |---|---|
//! | `format` | `foveate-cache-1` |
//! | `model` | fingerprint of the model's files |
//! | `kv` | how keys and values are stored |
//! | `rope` | rope parameters of every layer |
//! | `segments` | `[[kind, tokens, position], ...]` |
//! | `checksum` | FNV-1a of all of the above and of all tensors |
//!
//! | tensor | shape | type |
//! |---|---|---|
//! | `tokens` | `[n]` | u32, 4294967295 for an embedding |
//! | `states.I` | `[bytes]` | u8: what the `I`th buffer of states holds |
//! | `keys.I`, `values.I` | `[bytes]` | u8: rows of the pool, one a token, of the `I`th keys that layers have; of routing heads behind those of attention. A latent and the shared part of keys are keys without values. Of layers that see a window, the last `W - 1`, with the widest `W` |

use super::segment::Kind;
use super::sequence::NO_TOKEN;
use crate::error::{Error, Result, one_line};
use crate::hash::Hash;
use crate::weights::{Checkpoint, Memory};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

const FORMAT: &str = "foveate-cache-1";
const HEADER: &str = "cache";

/// The contents of a saved cache, read and checked on their own; whether they fit a model is checked later.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved {
    /// The model whose cache it is, as its configuration describes it.
    pub model: String,
    /// The format of keys and values.
    pub kv: String,
    /// The settings of the rotation.
    pub rope: String,
    /// The ids of the tokens.
    pub tokens: Vec<u32>,
    /// Kind, tokens and position of each.
    pub segments: Vec<(Kind, u32, u32)>,
    /// Rows of keys and of values, layer by layer.
    pub layers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The states of each layer that has states.
    pub states: Vec<Vec<u8>>,
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::format("the saved cache", reason)
}

/// The text in `__metadata__`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    model: String,
    kv: String,
    rope: String,
    segments: Vec<(String, u32, u32)>,
    checksum: String,
}

impl Saved {
    fn header(&self) -> Header {
        let segment = |(kind, len, at): &(Kind, u32, u32)| (kind.name().to_string(), *len, *at);
        let mut header = Header {
            format: FORMAT.into(),
            model: self.model.clone(),
            kv: self.kv.clone(),
            rope: self.rope.clone(),
            segments: self.segments.iter().map(segment).collect(),
            checksum: String::new(),
        };
        let mut hash = Hash::default();
        for text in [&header.format, &header.model, &header.kv, &header.rope] {
            hash.add(text.as_bytes());
        }
        for (kind, len, at) in &header.segments {
            hash.add(kind.as_bytes());
            hash.add(bytemuck::bytes_of(&[*len, *at]));
        }
        hash.add(bytemuck::cast_slice(&self.tokens));
        let rows = self.layers.iter().flat_map(|(k, v)| [k, v]);
        rows.chain(&self.states).for_each(|bytes| hash.add(bytes));
        header.checksum = hash.text();
        header
    }

    /// The file: the same bytes for the same cache.
    ///
    /// # Errors
    /// `Format` if it can't be written.
    pub fn write(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_string(&self.header()).map_err(|e| damaged(e.to_string()))?;
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
        let notes = HashMap::from([(HEADER.to_string(), header)]);
        safetensors::serialize(tensors, Some(notes)).map_err(|e| damaged(e.to_string()))
    }

    /// Reads a file that anyone may have written.
    ///
    /// # Errors
    /// `Format` for bytes that are damaged or no saved cache; `CacheMismatch` for another version of the format.
    pub async fn read(bytes: Vec<u8>) -> Result<Self> {
        if bytes.is_empty() {
            return Err(damaged("it is empty"));
        }
        let bytes = Arc::new(bytes);
        let file = Checkpoint::safetensors(vec![Box::new(Memory::new("the saved cache", bytes.clone()))]).await;
        // Bytes in memory are always there: an error of reading says that they are another kind of file.
        let file = file.map_err(|error| match error {
            Error::Read { reason, .. } => damaged(reason),
            error => error,
        })?;
        let header = file.note(HEADER).ok_or_else(|| damaged("it is a safetensors file of something else"))?;
        let header: Header = serde_json::from_str(header).map_err(|e| damaged(one_line(&e.to_string())))?;
        if header.format != FORMAT {
            let got = one_line(&header.format);
            return Err(Error::CacheMismatch { what: "the format", expected: FORMAT.into(), got });
        }
        let ids = tensor(&file, "tokens".into()).await?.ok_or_else(|| damaged("it has no tokens"))?;
        if !ids.len().is_multiple_of(4) {
            return Err(damaged("its tokens are no whole numbers"));
        }
        let (mut layers, mut states) = (Vec::new(), Vec::new());
        while let Some(keys) = tensor(&file, format!("keys.{}", layers.len())).await? {
            let values = tensor(&file, format!("values.{}", layers.len())).await?;
            layers.push((keys, values.ok_or_else(|| damaged("a layer has no values"))?));
        }
        while let Some(state) = tensor(&file, format!("states.{}", states.len())).await? {
            states.push(state);
        }
        let kind = |name: &str| Kind::ALL.into_iter().find(|k| k.name() == name);
        let segments = header.segments.iter().map(|(name, len, at)| Some((kind(name)?, *len, *at)));
        let segments = segments.collect::<Option<_>>().ok_or_else(|| damaged("a segment is of no known kind"))?;
        let tokens = bytemuck::pod_collect_to_vec(&ids);
        let Header { model, kv, rope, checksum, .. } = header;
        let saved = Saved { model, kv, rope, tokens, segments, layers, states };
        saved.consistent()?;
        // What is written is the same bytes for the same cache, so any other bytes are damage.
        match checksum == saved.header().checksum && saved.write()? == *bytes {
            true => Ok(saved),
            false => Err(damaged("its checksum differs")),
        }
    }

    /// Segments follow each other, hold all tokens and nothing else, and only text has ids.
    fn consistent(&self) -> Result<()> {
        let (mut at, mut least) = (0usize, 0u64);
        for &(kind, len, position) in &self.segments {
            let end = at.saturating_add(len as usize);
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

async fn tensor(file: &Checkpoint, name: String) -> Result<Option<Vec<u8>>> {
    match file.get(&name) {
        Some(tensor) => file.read(tensor, 0, tensor.bytes).await.map(Some),
        None => Ok(None),
    }
}
