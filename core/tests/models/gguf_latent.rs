//! Latent attention in converted files: the sizes of its heads, and its products as one tensor or as tensors of heads.

use super::gguf::Folder;
use super::gguf_file::{Gguf, Value, Value::*};
use foveate_core::config::{Attention, Config};
use foveate_core::model::{Place, Role};
use libtest_mimic::Failed;

fn first(config: &Config) -> Option<&Attention> {
    config.layers.iter().find_map(|layer| layer.mixer.attention())
}

/// The sizes of heads; `by_heads` as those of a cache of latents.
pub(crate) fn metadata(config: &Config, by_heads: bool) -> Vec<(&'static str, Value)> {
    let Some(a) = first(config) else { return Vec::new() };
    let Some(latent) = a.latent else {
        return vec![("attention.key_length", U32(a.dim)), ("attention.value_length", U32(a.value_dim))];
    };
    let mut all = vec![("attention.kv_lora_rank", U32(latent.rank))];
    all.extend(latent.query_rank.map(|rank| ("attention.q_lora_rank", U32(rank))));
    match by_heads {
        true => all.extend([
            ("attention.key_length", U32(latent.rank + latent.shared)),
            ("attention.value_length", U32(latent.rank)),
            ("attention.key_length_mla", U32(a.dim)),
            ("attention.value_length_mla", U32(a.value_dim)),
        ]),
        false => all.extend([("attention.key_length", U32(a.dim)), ("attention.value_length", U32(a.value_dim))]),
    }
    all
}

impl Folder {
    /// Adds the products of a layer's latents: `attn_kv_b`, or `attn_k_b` `[heads, latent, own]` and `attn_v_b`; and gives
    /// queries that come from a latent their name.
    pub(crate) fn add_latent(&self, layer: usize, by_heads: bool, file: &mut Gguf) -> Result<(), Failed> {
        let attention = self.family.config.layers[layer].mixer.attention();
        let Some((a, latent)) = attention.and_then(|a| Some((a, a.latent?))) else { return Ok(()) };
        let inside = |name: &str| format!("blk.{layer}.{name}.weight");
        if latent.query_rank.is_some() {
            let queries = file.tensors.remove(&inside("attn_q")).ok_or("queries")?;
            file.tensors.insert(inside("attn_q_b"), queries);
        }
        let [keys, values] = [Role::Key, Role::Value].map(|role| self.family.weight(role, layer));
        if !by_heads {
            let whole = self.read(&Place::plain(keys.name))?.ok_or("keys and values")?;
            file.tensors.insert(inside("attn_kv_b"), whole);
            return Ok(());
        }
        let (rank, own) = (latent.rank as usize, (a.dim - latent.shared) as usize);
        let (_, rows) = self.read(&keys)?.ok_or("keys")?;
        let turned = rows.chunks(own * rank).flat_map(|of| (0..rank * own).map(|i| of[i % own * rank + i / own]));
        let shape = vec![a.heads.into(), rank as u64, own as u64];
        file.tensors.insert(inside("attn_k_b"), (shape, turned.collect()));
        let (_, rows) = self.read(&values)?.ok_or("values")?;
        file.tensors.insert(inside("attn_v_b"), (vec![a.heads.into(), a.value_dim.into(), rank as u64], rows));
        Ok(())
    }
}
