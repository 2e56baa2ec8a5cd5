//! Encoders: BERT and what followed it. Tokens see all of a text, or a window on both sides.

use super::json::{Json, bounded, layers};
use super::like::each;
use super::llama::{activation, windows};
use super::rope::{Rule, by_kind, frequencies_of};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope, Transform};
use crate::error::{Error, Result};
use crate::model::distances::BUCKETS;
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::{Frequencies, Pairing};

/// Lets the tokens of every layer see those behind them: all, or as many as `sees` makes of a layer's window.
pub(super) fn both_sides(config: &mut Config, sees: impl Fn(u32) -> u32) {
    each(config, |_, attention| {
        attention.causal = false;
        attention.window = attention.window.map(&sees);
    });
}

/// # Errors
/// `Config` for BERT as a decoder, or with relative positions.
fn plain(json: &Json) -> Result<()> {
    json.only(&[("is_decoder", "false"), ("add_cross_attention", "false")])?;
    match json.str("position_embedding_type")? {
        None | Some("absolute") => Ok(()),
        Some(other) => {
            let other = crate::error::one_line(other);
            Err(Error::Config { reason: format!("position_embedding_type {other} is not supported: absolute is") })
        }
    }
}

/// The width of a head, by the keys of both numbers.
fn head_dim(dim: u32, heads: u32, [of_dim, of_heads]: [&str; 2]) -> Result<u32> {
    match dim.is_multiple_of(heads) {
        true => bounded("the width of a head", dim / heads),
        false => {
            let reason = format!("{of_dim} {dim} is no multiple of {of_heads} {heads}");
            Err(Error::Config { reason })
        }
    }
}

/// A layer with norms of the residual stream behind attention and the MLP, and none in front of them.
fn post_norm(norm: Norm, attention: Attention, mlp: Mlp) -> Layer {
    let attention = Attention { causal: false, ..attention };
    let layer = Layer::new(norm, Mixer::Attention(attention), mlp);
    Layer { input_norm: None, post_norm: None, sum_norm: Some(norm), ..layer }
}

/// The families that [`bert`] reads.
pub(super) const BERT: &[&str] = &[
    "albert",
    "bert",
    "camembert",
    "distilbert",
    "electra",
    "jina_embeddings_v3",
    "mpnet",
    "nomic_bert",
    "roberta",
    "xlm-roberta",
];

/// BERT, ALBERT, RoBERTa, XLM-RoBERTa, DistilBERT, ELECTRA, MPNet, Nomic BERT and Jina's third embeddings.
pub(super) fn bert(json: &Json, kind: &str) -> Result<Config> {
    let distil = kind == "distilbert";
    let nomic = kind == "nomic_bert";
    let mpnet = kind == "mpnet";
    let jina = kind == "jina_embeddings_v3";
    // The files of Nomic's own code have other keys than transformers' class.
    let own = nomic && json.get("n_embd").is_some();
    let key = |of_bert: &'static str, others: [&'static str; 2]| match (distil, own) {
        (true, _) => others[0],
        (_, true) => others[1],
        _ => of_bert,
    };
    let keys = [key("hidden_size", ["dim", "n_embd"]), key("num_attention_heads", ["n_heads", "n_head"])];
    let [dim, heads, inner] = match kind {
        "albert" => [4096, 64, 16_384],
        "electra" => [256, 4, 1024],
        _ => [768, 12, 3072],
    };
    let (dim, heads) = (json.size_or(keys[0], dim)?, json.size_or(keys[1], heads)?);
    let count = key("num_hidden_layers", ["n_layers", "n_layer"]);
    let count = layers(count, json.size_or(count, if distil { 6 } else { 12 })?)?;
    let inner = json.size_or(key("intermediate_size", ["hidden_dim", "n_inner"]), inner)?;
    let given = json.str(key("hidden_act", ["activation", "activation_function"]))?;
    let given = given.map(|given| if own && given == "swiglu" { "silu" } else { given });
    let act = activation(given.unwrap_or(match kind {
        "nomic_bert" => "silu",
        "albert" => "gelu_new",
        _ => "gelu",
    }))?;
    let eps = if distil { None } else { json.f64(key("layer_norm_eps", ["", "layer_norm_epsilon"]))? };
    let norm = Norm::layer(eps.unwrap_or(if jina { 1e-5 } else { 1e-12 }) as f32);
    let context = json.size_or(
        key("max_position_embeddings", ["max_position_embeddings", "n_positions"]),
        match (nomic, jina) {
            (true, _) => 2048,
            (_, true) => 8194,
            _ => 512,
        },
    )?;
    let mlp = match nomic {
        true => Mlp::gated(inner, act),
        false => Mlp { bias: true, ..Mlp::plain(inner, act) },
    };
    let width = match nomic.then(|| json.u32("head_dim")).transpose()?.flatten() {
        Some(width) => bounded("head_dim", width)?,
        None => head_dim(dim, heads, keys)?,
    };
    let mut attention = Attention { input_bias: !nomic, output_bias: !nomic, ..Attention::new(heads, heads, width) };
    if nomic {
        let theta = if own { json.f64("rotary_emb_base")? } else { None };
        if own {
            nomics_own(json)?;
        }
        let frequencies = frequencies_of(json, width, &Rule::theta(theta.unwrap_or(1000.0)))?;
        attention.rope = Some(Rope { frequencies, pairing: Pairing::Half });
    } else if jina {
        let frequencies = frequencies_of(json, width, &Rule::theta(20_000.0))?;
        attention.rope = Some(Rope { frequencies, pairing: Pairing::Half });
    } else {
        plain(json)?;
    }
    if mpnet {
        let buckets = json.u32("relative_attention_num_buckets")?.unwrap_or(BUCKETS);
        if buckets != BUCKETS {
            let reason = format!("relative_attention_num_buckets {buckets} is not supported: {BUCKETS} are");
            return Err(Error::Config { reason });
        }
    }
    if distil {
        // Such a table is stored like another one.
        json.understands(&["sinusoidal_pos_embds", "seq_classif_dropout", "qa_dropout"]);
    }
    let narrow = narrow(json, kind, dim)?;
    json.understands(&["tie_word_embeddings", "classifier_dropout"]);
    let vocab = json.size_or(
        "vocab_size",
        if nomic {
            30528
        } else if kind == "roberta" {
            50265
        } else if mpnet {
            30527
        } else if kind == "albert" {
            30000
        } else {
            30522
        },
    )?;
    let padding = match kind {
        "roberta" | "xlm-roberta" | "camembert" => Some(json.u32("pad_token_id")?.unwrap_or(1)),
        // Its class does not read the key.
        "mpnet" => Some(1),
        _ => None,
    };
    let context = match padding {
        // The first position stands behind the row of the padding token.
        Some(padding) => match context.checked_sub(padding.saturating_add(1)) {
            Some(context @ 1..) => context,
            _ => {
                return Err(Error::Config {
                    reason: format!(
                        "max_position_embeddings {context} leaves no position behind pad_token_id {padding}"
                    ),
                });
            }
        },
        None => context,
    };
    let layers = (0..count).map(|_| post_norm(norm, attention.clone(), mlp)).collect();
    Ok(Config {
        learned_positions: !(nomic || jina),
        position_offset: padding.unwrap_or(0),
        padding,
        token_types: if distil || mpnet {
            None
        } else {
            Some(json.size_or("type_vocab_size", if jina { 1 } else { 2 })?)
        },
        distance_bias: mpnet,
        embed_dim: narrow,
        narrow_input: narrow.is_some(),
        embed_norm: Some(norm),
        final_norm: None,
        transform: Some(Transform { kind: transform(kind, act), bias: true, norm }),
        headless: true,
        head_bias: true,
        tied: tied(json)?,
        stops: json.ids("eos_token_id")?,
        ..Config::new(kind, vocab, dim, context, layers)
    })
}

/// The width of embeddings that a product widens for the layers, in ALBERT always, in ELECTRA if it is another one.
fn narrow(json: &Json, kind: &str, dim: u32) -> Result<Option<u32>> {
    if !matches!(kind, "albert" | "electra") {
        return Ok(None);
    }
    if kind == "albert" {
        // Layers of several groups have weights of their own.
        json.only(&[("num_hidden_groups", "1"), ("inner_group_num", "1")])?;
    }
    let width = json.size_or("embedding_size", 128)?;
    if width > dim {
        let reason = format!("embedding_size {width} is not supported: it is at most hidden_size {dim}");
        return Err(Error::Config { reason });
    }
    Ok(Some(width).filter(|width| kind == "albert" || *width != dim))
}

/// Refuses what Nomic's own code computes otherwise by keys that its text models do not use, and counts the rest as asked for.
fn nomics_own(json: &Json) -> Result<()> {
    json.only(&[
        ("causal", "false"),
        ("mlp_fc1_bias", "false"),
        ("mlp_fc2_bias", "false"),
        ("prenorm", "false"),
        ("qkv_proj_bias", "false"),
        ("rotary_emb_interleaved", "false"),
        ("rotary_emb_fraction", "1"),
    ])?;
    json.understands(&["fused_bias_fc", "max_trained_positions", "scale_attn_weights", "use_flash_attn"]);
    Ok(())
}

/// The nonlinearity of the head: RoBERTa's is fixed, the others take that of the layers.
fn transform(kind: &str, layers: Kind) -> Kind {
    if matches!(kind, "roberta" | "xlm-roberta" | "camembert" | "electra" | "mpnet" | "jina_embeddings_v3") {
        Kind::Gelu
    } else {
        layers
    }
}

/// Tied unless the file says otherwise.
fn tied(json: &Json) -> Result<Option<bool>> {
    Ok(Some(json.bool("tie_word_embeddings")?.unwrap_or(true)))
}

/// ModernBERT, and its decoder if `causal`.
pub(super) fn modern(json: &Json, causal: bool) -> Result<Config> {
    let (dim, heads) = (json.size_or("hidden_size", 768)?, json.size_or("num_attention_heads", 12)?);
    let count = layers("num_hidden_layers", json.size_or("num_hidden_layers", 22)?)?;
    let width = head_dim(dim, heads, ["hidden_size", "num_attention_heads"])?;
    let flag = |key: &str, default: bool| json.bool(key).map(|on| on.unwrap_or(default));
    let bias = flag("norm_bias", false)?;
    let norm = Norm { bias, ..Norm::layer(json.f64("norm_eps")?.unwrap_or(1e-5) as f32) };
    let kind = activation(json.str("hidden_activation")?.unwrap_or("gelu"))?;
    let mlp = Mlp { bias: flag("mlp_bias", false)?, ..Mlp::gated(json.size_or("intermediate_size", 1152)?, kind) };
    let window = window(json, causal)?;
    let period = json.u32("global_attn_every_n_layers")?.unwrap_or(3);
    if period == 0 {
        return Err(Error::Config { reason: "global_attn_every_n_layers must be 1 or more, got 0".into() });
    }
    let windows = windows(json, Some(window), count, |layer| layer % period != 0)?;
    let (full, local) = rotations(json, width)?;
    let bias = flag("attention_bias", false)?;
    let layer = |(index, window): (usize, Option<u32>)| {
        let frequencies = if window.is_some() { &local } else { &full }.clone();
        let attention = Attention {
            causal,
            window,
            rope: Some(Rope { frequencies, pairing: Pairing::Half }),
            input_bias: bias,
            output_bias: bias,
            ..Attention::new(heads, heads, width)
        };
        let layer = Layer::new(norm, Mixer::Attention(attention), mlp);
        // The norm of the embeddings is that of the first layer, too.
        Layer { input_norm: (index > 0).then_some(norm), ..layer }
    };
    let layers = windows.into_iter().enumerate().map(layer).collect();
    let transform = Transform {
        kind: activation(json.str("classifier_activation")?.unwrap_or("gelu"))?,
        bias: flag("classifier_bias", false)?,
        norm,
    };
    // Of training, and of heads that classify.
    json.understands(&["embedding_dropout", "mlp_dropout", "classifier_dropout", "deterministic_flash_attn"]);
    json.understands(&[
        "classifier_pooling",
        "sparse_pred_ignore_index",
        "sparse_prediction",
        "initializer_cutoff_factor",
    ]);
    Ok(Config {
        embed_norm: Some(norm),
        final_norm: Some(norm),
        transform: Some(transform),
        headless: true,
        head_bias: flag("decoder_bias", true)?,
        tied: tied(json)?,
        stops: json.ids("eos_token_id")?,
        ..Config::new(
            if causal { "modernbert-decoder" } else { "modernbert" },
            json.size_or("vocab_size", 50368)?,
            dim,
            json.size_or("max_position_embeddings", 8192)?,
            layers,
        )
    })
}

/// The window by `local_attention`: the half of it, in place of which files of the decoder may have a `sliding_window`. The
/// decoder counts a query's own position among these keys, the encoder does not.
fn window(json: &Json, causal: bool) -> Result<u32> {
    let local = json.u32("local_attention")?.unwrap_or(128);
    let half = local / 2;
    let named = json.u32("sliding_window")?;
    match named {
        Some(0) | None if half == 0 && causal => {
            let reason = format!("local_attention {local} is not supported: a window of its half must see a key");
            Err(Error::Config { reason })
        }
        Some(0) if causal => Err(Error::Config { reason: "sliding_window must be 1 or more, got 0".into() }),
        Some(named) if causal => Ok(named),
        Some(other) if other != half => {
            Err(Error::Config { reason: format!("sliding_window {other} is not half of local_attention {local}") })
        }
        _ => Ok(if causal { half } else { half + 1 }),
    }
}

/// The rotations of layers that see all, and of those with a window: by the kind of layer, or in older files by
/// `global_rope_theta` and `local_rope_theta`.
fn rotations(json: &Json, width: u32) -> Result<(Frequencies, Frequencies)> {
    if json.object("rope_scaling")?.is_some_and(|scaling| !scaling.is_empty()) {
        return Err(Error::Config {
            reason: "rope_scaling is not supported for modernbert: rope_parameters is".into(),
        });
    }
    let global = json.f64("global_rope_theta")?.unwrap_or(160_000.0);
    let local = json.f64("local_rope_theta")?.unwrap_or(10_000.0);
    by_kind(json, width, &Rule::theta(global), Some(local))
}
