//! Low-rank adapters in memory: pairs of matrices, by the product that each is added to. [`lora`](crate::lora) reads them.

use crate::error::{Error, Result, one_line};
use crate::hash::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An adapter of a model, read from its files.
#[derive(Clone, PartialEq, Debug)]
pub struct Adapter {
    pub(crate) name: String,
    /// `general.architecture` of a GGUF file; `None` for PEFT's files.
    pub(crate) gguf: Option<String>,
    pub(crate) pairs: BTreeMap<String, Pair>,
}

/// The two matrices that are added to one product.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Pair {
    pub(crate) rank: u32,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    /// `[rank, inputs]`
    pub(crate) a: Vec<f32>,
    /// `[outputs, rank]`, times the adapter's scale.
    pub(crate) b: Vec<f32>,
    /// The tensor that holds `B`, for messages.
    pub(crate) name: String,
}

/// The names of products in folders of the hub and in GGUF files.
const NAMES: [(&str, &str); 9] = [
    ("self_attn.q_proj.weight", "attn_q.weight"),
    ("self_attn.k_proj.weight", "attn_k.weight"),
    ("self_attn.v_proj.weight", "attn_v.weight"),
    ("self_attn.o_proj.weight", "attn_output.weight"),
    ("self_attn.qkv_proj.weight", "attn_qkv.weight"),
    ("mlp.gate_proj.weight", "ffn_gate.weight"),
    ("mlp.up_proj.weight", "ffn_up.weight"),
    ("mlp.gate_up_proj.weight", "ffn_up.weight"),
    ("mlp.down_proj.weight", "ffn_down.weight"),
];

/// The name of a tensor from the number of its layer on, which is where names in files and in adapters agree.
pub(crate) fn key(tensor: &str) -> String {
    let words: Vec<&str> = tensor.split('.').collect();
    let layer = words.iter().position(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()));
    words[layer.unwrap_or(0)..].join(".")
}

/// The pair of a tensor, under its own name or under that of files of the other kind.
fn find<'a>(adapter: &'a Adapter, tensor: &str) -> Option<(&'a str, &'a Pair)> {
    let key = key(tensor);
    let (layer, name) = key.split_once('.')?;
    let others = NAMES.iter().filter_map(|(hub, gguf)| match name {
        _ if name == *hub => Some(*gguf),
        _ if name == *gguf => Some(*hub),
        _ => None,
    });
    let mut names = std::iter::once(name).chain(others);
    let found = names.find_map(|name| adapter.pairs.get_key_value(&format!("{layer}.{name}")))?;
    Some((found.0.as_str(), found.1))
}

/// The adapters of a model, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adapters(pub(crate) Vec<Arc<Adapter>>);

impl Adapters {
    /// Returns the pairs of a product by the name of its tensor, and the keys that they have in their adapters.
    pub(crate) fn of(&self, tensor: &str) -> Vec<(String, &Pair)> {
        let found = |(n, adapter)| find(adapter, tensor).map(|(key, pair)| (mark(n, key), pair));
        self.0.iter().map(|adapter| &**adapter).enumerate().filter_map(found).collect()
    }

    /// Refuses adapters of which a product was not `used`.
    pub(crate) fn all_used(&self, used: &BTreeSet<String>) -> Result<()> {
        for (n, adapter) in self.0.iter().enumerate() {
            let mut left = adapter.pairs.iter().filter(|(key, _)| !used.contains(&mark(n, key)));
            if let Some((_, pair)) = left.next() {
                let reason = format!(
                    "{} changes {}, which is no product of this model's attention or MLPs; no other products can have \
                     adapters",
                    adapter.name,
                    one_line(&pair.name)
                );
                return Err(Error::Config { reason });
            }
        }
        Ok(())
    }

    /// Adds the adapters to a fingerprint.
    pub(crate) fn hash(&self, hash: &mut Hash) {
        for (key, pair) in self.0.iter().flat_map(|adapter| &adapter.pairs) {
            hash.add(key.as_bytes());
            hash.add(bytemuck::cast_slice(&pair.a));
            hash.add(bytemuck::cast_slice(&pair.b));
        }
    }
}

/// The key of an adapter's product among those of all adapters.
fn mark(adapter: usize, key: &str) -> String {
    format!("{adapter} {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_at_the_layer() {
        assert_eq!(key("base.model.layers.12.self_attn.q_proj.weight"), "12.self_attn.q_proj.weight");
        assert_eq!(key("blk.3.attn_q.weight"), "3.attn_q.weight");
        assert_eq!(key("token_embd.weight"), "token_embd.weight");
    }
}
