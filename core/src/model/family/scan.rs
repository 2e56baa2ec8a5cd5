//! Scans in configurations of the hub: their sizes, steps and biases.

use super::experts;
use super::json::{Json, bounded, layers};
use super::llama::activation;
use super::names::Naming;
use super::names_convolved;
use crate::config::{Attention, Config, FeedForward, Layer, Mixer, Mlp, Norm, Scan};
use crate::error::{Error, Result, one_line};
use foveate_kernels::activation::Kind;
use serde_json::Value;

/// Names of keys of which all say how large a scan is.
pub(super) struct Sizes {
    pub(super) heads: &'static str,
    pub(super) dim: &'static str,
    pub(super) groups: &'static str,
    pub(super) state: &'static str,
    pub(super) window: &'static str,
}

/// The keys of Bamba, Granite 4 and Falcon-H1.
pub(super) const MAMBA: Sizes = Sizes {
    heads: "mamba_n_heads",
    dim: "mamba_d_head",
    groups: "mamba_n_groups",
    state: "mamba_d_state",
    window: "mamba_d_conv",
};

/// Keys of training, of kernels, and of how steps were drawn.
pub(super) const TRAINING: &[&str] = &[
    "chunk_size",
    "mamba_chunk_size",
    "mamba_ssm_cache_dtype",
    "num_logits_to_keep",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "time_step_floor",
    "time_step_max",
    "use_mamba_kernels",
    "z_loss_coefficient",
];

fn config(reason: String) -> Error {
    Error::Config { reason }
}

/// A scan of Bamba, Granite 4 or Falcon-H1 of `inner` elements, if their number is given, and else of `mamba_expand` times
/// the residual stream's.
pub(super) fn mamba(json: &Json, dim: u32, inner: Option<u32>, norm: Norm) -> Result<Scan> {
    json.understands(TRAINING);
    json.understands(&["time_step_min"]);
    let expand = json.size_or("mamba_expand", 2)?;
    let inner = inner.unwrap_or(dim.saturating_mul(expand));
    let heads = json.size_or(MAMBA.heads, 128)?;
    let automatic = json.get(MAMBA.dim).is_none_or(|value| value.as_str() == Some("auto"));
    let each = if automatic { inner / heads } else { json.size(MAMBA.dim)? };
    if u64::from(heads) * u64::from(each) != u64::from(inner) {
        return Err(config(format!(
            "{} {heads} times {} {each} is not {inner}, the width of the scan (mamba_expand, mamba_d_ssm)",
            MAMBA.heads, MAMBA.dim
        )));
    }
    let (groups, state) = (json.size_or(MAMBA.groups, 1)?, json.size_or(MAMBA.state, 256)?);
    let bias = json.bool("mamba_proj_bias")?.unwrap_or(false);
    let scan = Scan {
        window: json.size_or(MAMBA.window, 4)?,
        conv_bias: json.bool("mamba_conv_bias")?.unwrap_or(true),
        input_bias: bias,
        output_bias: bias,
        steps: steps(json, "time_step_limit")?,
        norm_groups: groups,
        ..Scan::new([heads, each], groups, state, norm)
    };
    checked(scan, &MAMBA)
}

/// # Errors
/// `Config` that names the keys of sizes that no scan has.
fn checked(scan: Scan, keys: &Sizes) -> Result<Scan> {
    let Sizes { heads, dim, groups, state, window } = keys;
    let named = |error| config(format!("{heads}, {dim}, {groups}, {state} and {window} do not fit: {error}"));
    scan.check().map_err(named)?;
    Ok(scan)
}

/// The bounds of steps, of which the upper one may be infinite.
fn steps(json: &Json, key: &str) -> Result<[f32; 2]> {
    let Some(value) = json.get(key) else { return Ok([0.0, f32::MAX]) };
    let number = |value: &Value| match value.get("__float__").and_then(Value::as_str) {
        Some("Infinity") => Some(f32::MAX),
        _ => value.as_f64().map(|x| x as f32).filter(|x| x.is_finite() && *x >= 0.0),
    };
    let all: Option<Vec<f32>> = value.as_array().and_then(|all| all.iter().map(number).collect());
    match all.as_deref() {
        Some(&[least, most]) if least <= most => Ok([least, most]),
        _ => Err(config(format!(
            "{key} must be two numbers from 0 on, the lesser first, got {}",
            one_line(&value.to_string())
        ))),
    }
}

/// # Errors
/// `Config` for an activation of the convolution that is not SiLU, naming its key.
pub(super) fn silu(json: &Json, key: &str) -> Result<()> {
    match activation(json.str(key)?.unwrap_or("silu"))? {
        Kind::Silu => Ok(()),
        _ => Err(config(format!("{key} {} is not supported: silu is", json.str(key)?.unwrap_or("")))),
    }
}

pub(super) const BACKBONE: Naming = Naming::Function(names_convolved::backbone);

/// Mamba-2: layers of scans alone.
pub(super) fn mamba2(json: &Json) -> Result<Config> {
    const KEYS: Sizes =
        Sizes { heads: "num_heads", dim: "head_dim", groups: "n_groups", state: "state_size", window: "conv_kernel" };
    json.understands(TRAINING);
    json.understands(&["time_step_min", "time_step_rank"]);
    // Of older files, which its class does not read.
    json.understands(&["norm_before_gate", "rms_norm", "time_step_init_scheme", "time_step_scale"]);
    let dim = json.size_or("hidden_size", 4096)?;
    let (heads, each) = (json.size_or(KEYS.heads, 128)?, json.size_or(KEYS.dim, 64)?);
    let expand = json.size_or("expand", 2)?;
    if u64::from(heads) * u64::from(each) != u64::from(dim) * u64::from(expand) {
        let reason = format!("num_heads {heads} times head_dim {each} is not hidden_size {dim} times expand {expand}");
        return Err(config(reason));
    }
    silu(json, "hidden_act")?;
    let norm = Norm::rms(json.f64("layer_norm_epsilon")?.unwrap_or(1e-5) as f32);
    let groups = json.size_or(KEYS.groups, 8)?;
    let bias = json.bool("use_bias")?.unwrap_or(false);
    let scan = Scan {
        window: json.size_or(KEYS.window, 4)?,
        conv_bias: json.bool("use_conv_bias")?.unwrap_or(true),
        input_bias: bias,
        output_bias: bias,
        steps: steps(json, "time_step_limit")?,
        norm_groups: groups,
        ..Scan::new([heads, each], groups, json.size_or(KEYS.state, 128)?, norm)
    };
    let scan = checked(scan, &KEYS)?;
    let count = layers("num_hidden_layers", json.size_or("num_hidden_layers", 64)?)?;
    let layer = Layer { post_norm: None, ..Layer::new(norm, Mixer::Scan(scan), FeedForward::None) };
    Ok(Config {
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
        // Its class bounds no text; states do not grow.
        ..Config::new("mamba2", json.size_or("vocab_size", 32768)?, dim, 1 << 20, vec![layer; count as usize])
    })
}

/// Nemotron-H: every layer is a scan, an attention, an MLP or a mixture of experts.
pub(super) fn nemotron_h(json: &Json) -> Result<Config> {
    const KEYS: Sizes = Sizes {
        heads: "mamba_num_heads",
        dim: "mamba_head_dim",
        groups: "n_groups",
        state: "ssm_state_size",
        window: "conv_kernel",
    };
    json.understands(TRAINING);
    // The scan's width is that of its heads; the bounds of steps are the least step alone.
    json.understands(&[
        "expand",
        "mamba_expand",
        "time_step_limit",
        "mamba_dt_limit",
        "mamba_dt_max",
        "mamba_dt_init_floor",
    ]);
    // Biases of no product; of layers that draft tokens; what runs side by side.
    json.understands(&["mamba_proj_bias", "attention_bias", "moe_shared_expert_overlap", "num_nextn_predict_layers"]);
    json.understands(&["mtp_layers_block_type", "mtp_hybrid_override_pattern", "sliding_window"]);
    let dim = json.size_or("hidden_size", 4096)?;
    let older = |older: &str, key: &str, default: u32| match json.u32(older)? {
        Some(value) => bounded(older, value),
        None => json.size_or(key, default),
    };
    silu(json, "mamba_hidden_act")?;
    let norm = Norm::rms(json.f64("layer_norm_epsilon")?.unwrap_or(1e-5) as f32);
    let groups = older("mamba_n_groups", KEYS.groups, 8)?;
    let bias = json.bool("use_bias")?.unwrap_or(false);
    let conv_bias = match json.bool("mamba_conv_bias")? {
        Some(bias) => bias,
        None => json.bool("use_conv_bias")?.unwrap_or(true),
    };
    let least = match json.f64("mamba_dt_min")? {
        Some(least) => least,
        None => json.f64("time_step_min")?.unwrap_or(0.001),
    };
    let scan = Scan {
        window: older("mamba_d_conv", KEYS.window, 4)?,
        conv_bias,
        input_bias: bias,
        output_bias: bias,
        steps: [least as f32, f32::MAX],
        norm_groups: groups,
        ..Scan::new(
            [json.size_or(KEYS.heads, 128)?, json.size_or(KEYS.dim, 64)?],
            groups,
            json.size_or(KEYS.state, 128)?,
            norm,
        )
    };
    let scan = checked(scan, &KEYS)?;
    // The class does not read the first three, which older files have. The others are second names of keys that are read.
    json.understands(&["rms_norm_eps", "norm_eps", "time_step_rank", "conv_kernel", "n_groups", "use_conv_bias"]);
    let heads = json.size_or("num_attention_heads", 32)?;
    let kv_heads = json.u32("num_key_value_heads")?;
    let kv_heads = if json.has("num_key_value_heads") { kv_heads.unwrap_or(heads) } else { 8 };
    let head_dim = json.size_or("head_dim", 128)?;
    // The older name, whose value must be the same.
    if let Some(older) = json.u32("attention_head_dim")?.filter(|older| *older != head_dim) {
        return Err(config(format!("attention_head_dim {older} is not head_dim, {head_dim}")));
    }
    let attention = Attention::new(heads, bounded("num_key_value_heads", kv_heads)?, head_dim);
    let kind = activation(json.str("mlp_hidden_act")?.unwrap_or("relu2"))?;
    let mlp = Mlp {
        bias: json.bool("mlp_bias")?.unwrap_or(false),
        ..Mlp::plain(json.size_or("intermediate_size", 21504)?, kind)
    };
    let kinds = kinds(json)?;
    let sparse = if kinds.contains(&"moe") { Some(experts::nemotron(json, mlp)?) } else { None };
    json.understands(experts::NEMOTRON);
    let layer = |kind: &&str| {
        let alone = |mlp: FeedForward| Layer { input_norm: None, ..Layer::new(norm, Mixer::None, mlp) };
        let mixed = |mixer| Layer { post_norm: None, ..Layer::new(norm, mixer, FeedForward::None) };
        match (*kind, &sparse) {
            ("mlp", _) => Ok(alone(mlp.into())),
            ("moe", Some(experts)) => Ok(alone(experts.clone().into())),
            ("full_attention" | "attention", _) => Ok(mixed(Mixer::Attention(attention.clone()))),
            ("linear_attention" | "mamba", _) => Ok(mixed(Mixer::Scan(scan.clone()))),
            (other, _) => Err(config(format!("layers_block_type: {} is not supported", one_line(other)))),
        }
    };
    let all = kinds.iter().map(layer).collect::<Result<Vec<_>>>()?;
    layers("the number of layers", u32::try_from(all.len()).unwrap_or(u32::MAX))?;
    Ok(Config {
        final_norm: Some(norm),
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
        ..Config::new(
            "nemotron_h",
            json.size_or("vocab_size", 131_072)?,
            dim,
            json.size_or("max_position_embeddings", 4096)?,
            all,
        )
    })
}

/// The kinds of Nemotron-H's layers, as a list or in older files as letters.
fn kinds(json: &Json) -> Result<Vec<&str>> {
    json.understands(&["num_hidden_layers"]);
    let pattern = json.str("hybrid_override_pattern")?;
    let list = match json.strings("layers_block_type")? {
        Some(list) => Some(list),
        None => json.strings("layer_types")?,
    };
    if let Some(list) = list {
        return Ok(list);
    }
    let Some(pattern) = pattern else { return Ok(vec!["linear_attention", "moe", "full_attention", "mlp"]) };
    let kind = |letter: char| match letter {
        'M' => Ok("linear_attention"),
        'E' => Ok("moe"),
        '*' => Ok("full_attention"),
        '-' => Ok("mlp"),
        other => Err(config(format!("hybrid_override_pattern has {other:?}: M, E, * and - are supported"))),
    };
    pattern.chars().map(kind).collect()
}
