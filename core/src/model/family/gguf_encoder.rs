//! Encoders in GGUF files, and how their hidden states become the vector of a text.

use super::encoder::both_sides;
use super::gguf_keys::Keys;
use super::gguf_more;
use super::like::each;
use crate::config::{Classifier, Config, Pooled, Pooler, PoolerKind};
use crate::error::Result;
use foveate_kernels::activation::Kind;

/// The pooling of a text's hidden states, if the file names one. Heads that judge texts stand in its place.
pub(super) fn pooled(read: &Keys<'_>) -> Result<Option<Pooled>> {
    const KEY: &str = "pooling_type";
    Ok(match read.u32(KEY)? {
        None | Some(0 | 4) => None,
        Some(1) => Some(Pooled::Mean),
        Some(2) => Some(Pooled::First),
        Some(3) => Some(Pooled::Last),
        Some(other) => return read.refused(KEY, other, "0 (none), 1 (mean), 2 (first), 3 (last) and 4 (rank) are"),
    })
}

/// The model gives hidden states, and no logits: files hold no head of tokens.
fn headless(config: &mut Config) {
    (config.headless, config.tied) = (true, Some(false));
}

/// BERT without positions, which its rotation replaces.
pub(super) fn nomic(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    let norm = config.final_norm.take();
    for layer in &mut config.layers {
        (layer.input_norm, layer.post_norm, layer.sum_norm) = (None, None, norm);
    }
    config.embed_norm = norm;
    // The tensors tell how many there are.
    config.token_types = Some(1);
    both_sides(config, |window| window);
    headless(config);
    Ok(())
}

/// BERT, RoBERTa and XLM-RoBERTa, whose tables of positions begin at the first one here, and DistilBERT, which has no types
/// of tokens.
pub(super) fn bert(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.learned_positions = true;
    nomic(read, config)
}

/// The window is that of both sides together, without the token itself.
fn halves(window: u32) -> u32 {
    window / 2 + 1
}

pub(super) fn modern(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.embed_norm = config.final_norm;
    if let Some(first) = config.layers.first_mut() {
        first.input_norm = None;
    }
    let kind = match read.str("hidden_act")?.unwrap_or("gelu") {
        "gelu" => Kind::Gelu,
        "silu" => Kind::Silu,
        other => return read.refused("hidden_act", crate::error::one_line(other), "gelu and silu are"),
    };
    config.layers.iter_mut().filter_map(|layer| layer.mlp.shared_mut()).for_each(|mlp| mlp.kind = kind);
    if let Some(theta) = read.f64("rope.freq_base_swa")?.filter(|theta| *theta > 0.0) {
        each(config, |_, attention| {
            if let (Some(_), Some(rope)) = (attention.window, &mut attention.rope) {
                rope.frequencies.theta = theta;
            }
        });
    }
    both_sides(config, halves);
    headless(config);
    Ok(())
}

pub(super) fn euro(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    both_sides(config, |window| window);
    headless(config);
    Ok(())
}

/// EmbeddingGemma: Gemma 3, with two products behind the pooling if the file has them.
pub(super) fn gemma(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    gguf_more::gemma3(read, config)?;
    both_sides(config, halves);
    headless(config);
    for name in ["dense_2", "dense_3"] {
        let [inputs, outputs] = ["in", "out"].map(|of| format!("{name}_feat_{of}"));
        let there = [read.u32(&inputs)?, read.u32(&outputs)?].into_iter().flatten().any(|size| size > 0);
        if there {
            config.pooled_dense.push([read.size(&inputs)?, read.size(&outputs)?]);
        }
    }
    Ok(())
}

/// A head of `labels` that judges whole texts, of a model with so many `types` of tokens. In front of its output product
/// stands a layer as wide as the residual stream, unless the product is `alone`, as that of a decoder. The last
/// three say whether the product and the layer have biases, and whether a norm stands between them.
pub(in crate::model) fn head(
    config: &Config,
    types: Option<u32>,
    labels: u32,
    alone: bool,
    [bias, dense, norm]: [bool; 3],
) -> Classifier {
    let modern = config.architecture == "modern-bert";
    let kind = match (modern, types) {
        (true, _) => PoolerKind::Gelu,
        (false, Some(_)) => PoolerKind::Tanh,
        // DistilBERT's.
        (false, None) => PoolerKind::Relu,
    };
    let norm = norm.then_some(config.final_norm).flatten();
    let pooling = match (alone, modern) {
        (true, _) => Pooled::Last,
        (false, true) => Pooled::Mean,
        (false, false) => Pooled::First,
    };
    Classifier { pooling, dense: (!alone).then_some(Pooler { kind, bias: dense, norm }), labels, bias }
}
