//! Folders of RWKV-7 as GGUF files.

use super::folder::{DIM, Folder, INNER, LAYERS, VOCAB};
use super::gguf_file::{Gguf, Value::*};

/// A folder as llama.cpp's converter writes it: shares are one tensor, and the first layer repeats its learning rates in
/// place of shares of values.
pub(crate) fn converted(folder: &Folder, gated: bool) -> Gguf {
    let mut file = Gguf::default();
    let mut set = |key: &str, value| drop(file.entries.insert(key.into(), value));
    set("general.architecture", Text("rwkv7"));
    set("tokenizer.ggml.tokens", Texts(VOCAB as u64));
    for (key, value) in [
        ("context_length", 1 << 20),
        ("embedding_length", DIM as u32),
        ("block_count", LAYERS as u32),
        ("feed_forward_length", INNER as u32),
        ("attention.head_count", 0),
        ("wkv.head_size", 16),
        ("attention.decay_lora_rank", 6),
        ("attention.iclr_lora_rank", 5),
        ("attention.value_residual_mix_lora_rank", 4),
        ("attention.gate_lora_rank", if gated { 7 } else { 0 }),
    ] {
        set(&format!("rwkv7.{key}"), U32(value));
    }
    set("rwkv7.attention.layer_norm_epsilon", F32(4e-5));
    let mut shares = vec![Vec::new(); LAYERS];
    for name in ["r", "w", "k", "v", "a", "g"].into_iter().take(5 + usize::from(gated)) {
        let of = |layer| &folder.tensors[&format!("model.layers.{layer}.attn.x_{name}")].1;
        shares.iter_mut().enumerate().for_each(|(layer, all)| all.extend(of(layer)));
    }
    for (layer, all) in shares.into_iter().enumerate() {
        let shape = vec![(all.len() / DIM) as u64, 1, 1, DIM as u64];
        file.tensors.insert(format!("blk.{layer}.time_mix_lerp_fused.weight"), (shape, all));
    }
    for (name, (shape, values)) in &folder.tensors {
        let Some(name) = renamed(name).filter(|name| gated || !name.contains("time_mix_g")) else { continue };
        let mut shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        if name.ends_with("r_k.weight") {
            shape = vec![values.len() as u64];
        }
        if name.starts_with("blk.0.time_mix_a") {
            file.tensors.insert(name.replace("time_mix_a", "time_mix_v"), (shape.clone(), values.clone()));
        }
        file.tensors.insert(name, (shape, values.clone()));
    }
    file
}

/// The name of a tensor, unless it becomes a row of another one.
fn renamed(name: &str) -> Option<String> {
    const OUTSIDE: [(&str, &str); 4] = [
        ("model.embeddings.", "token_embd."),
        ("model.layers.0.pre_norm.", "token_embd_norm."),
        ("model.norm.", "output_norm."),
        ("lm_head.", "output."),
    ];
    const INSIDE: [(&str, &str); 11] = [
        ("attn_norm.", "attn_norm."),
        ("ffn_norm.", "attn_norm_2."),
        ("attn.r_proj.", "time_mix_receptance."),
        ("attn.k_proj.", "time_mix_key."),
        ("attn.v_proj.", "time_mix_value."),
        ("attn.o_proj.", "time_mix_output."),
        ("attn.g_norm.", "time_mix_ln."),
        ("ffn.x_k", "channel_mix_lerp_k.weight"),
        ("ffn.key.", "channel_mix_key."),
        ("ffn.value.", "channel_mix_value."),
        ("attn.", "time_mix_"),
    ];
    if let Some((from, to)) = OUTSIDE.into_iter().find(|(from, _)| name.starts_with(from)) {
        return Some(name.replacen(from, to, 1));
    }
    let (layer, inside) = name.strip_prefix("model.layers.")?.split_once('.')?;
    if inside.starts_with("attn.x_") {
        return None;
    }
    let (from, to) = INSIDE.into_iter().find(|(from, _)| inside.starts_with(from))?;
    let mut inside = inside.replacen(from, to, 1);
    for (from, to) in
        [("_lora.lora.0.weight", "1.weight"), ("_lora.lora.2.weight", "2.weight"), ("_lora.lora.2.bias", "0.weight")]
    {
        inside = inside.replace(from, to);
    }
    if !inside.ends_with("weight") && !inside.ends_with("bias") {
        inside.push_str(".weight");
    }
    Some(format!("blk.{layer}.{inside}"))
}
