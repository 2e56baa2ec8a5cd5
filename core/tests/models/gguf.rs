//! The golden folders as GGUF files: converted here by llama.cpp's conventions, each must give the folder's logits.

use super::gguf_encoders;
use super::gguf_experts;
use super::gguf_file::{Gguf, Value, Value::*};
use super::gguf_gemma;
use super::gguf_hybrid;
use super::gguf_latent;
use super::{golden, source};
use foveate_core::config::{Attention, Config};
use foveate_core::kernels::rope::{Frequencies, Scaling};
use foveate_core::model::{Family, Files, Place, Role};
use foveate_core::weights::{Checkpoint, Memory};
use foveate_core::{Any, check};
use foveate_kernels::testing::Tolerance;
use libtest_mimic::Failed;
use pollster::block_on;

/// A folder, the architecture that llama.cpp has for it, and how its files differ.
pub(crate) struct Conversion {
    pub(crate) family: &'static str,
    pub(crate) architecture: &'static str,
    with: &'static [With],
}

#[derive(Clone, Copy, PartialEq)]
enum With {
    /// The rows of queries and keys are put in order for neighbours to rotate together.
    Permuted,
    /// Queries, keys and values are one tensor.
    Qkv,
    /// Gate and up are one tensor.
    GateUp,
    /// Norms hold `1 + w`.
    PlusOne,
    /// Products of latents are tensors of heads, and heads are described as those of a cache of latents.
    ByHeads,
}

use With::*;

const fn of(family: &'static str, architecture: &'static str, with: &'static [With]) -> Conversion {
    Conversion { family, architecture, with }
}

pub(crate) const ALL: &[Conversion] = &[
    of("llama", "llama", &[Permuted]),
    of("llama_llama3", "llama", &[Permuted]),
    of("mistral", "llama", &[Permuted]),
    of("internlm3", "llama", &[Permuted]),
    of("qwen2", "qwen2", &[]),
    of("qwen3", "qwen3", &[]),
    of("smollm3", "smollm3", &[Permuted]),
    of("arcee", "arcee", &[Permuted]),
    of("granite", "granite", &[Permuted]),
    of("granite4_dense", "granitehybrid", &[Permuted]),
    of("ministral3", "mistral3", &[Permuted]),
    of("ernie4_5", "ernie4_5", &[]),
    of("glm", "chatglm", &[GateUp]),
    of("glm4", "glm4", &[GateUp]),
    of("seed_oss", "seed_oss", &[]),
    of("exaone", "exaone", &[]),
    of("vlm_qwen2_5_vl", "qwen2vl", &[]),
    of("vlm_qwen3_vl", "qwen3vl", &[]),
    of("phi3", "phi3", &[Qkv, GateUp]),
    of("phi4_mini", "phi3", &[Qkv, GateUp]),
    of("gemma", "gemma", &[PlusOne]),
    of("gemma2", "gemma2", &[PlusOne]),
    of("apertus", "apertus", &[]),
    of("hunyuan_dense", "hunyuan-dense", &[]),
    of("olmo2", "olmo2", &[]),
    of("olmo3", "olmo2", &[]),
    of("exaone4", "exaone4", &[]),
    of("gpt_bigcode", "starcoder", &[Qkv]),
    of("starcoder2", "starcoder2", &[]),
    of("stablelm", "stablelm", &[]),
    of("stablelm_parallel", "stablelm", &[]),
    of("gpt_neox", "gptneox", &[Qkv]),
    of("phi", "phi2", &[]),
    of("falcon7b", "falcon", &[Qkv]),
    of("falcon40b", "falcon", &[Qkv]),
    of("bloom", "bloom", &[Qkv]),
    of("mpt", "mpt", &[Qkv]),
    of("nemotron", "nemotron", &[PlusOne]),
    of("cohere", "command-r", &[]),
    of("cohere2", "cohere2", &[]),
    of("mixtral", "llama", &[Permuted]),
    of("qwen2_moe", "qwen2moe", &[]),
    of("qwen3_moe", "qwen3moe", &[]),
    of("olmoe", "olmoe", &[]),
    of("granitemoe", "granitemoe", &[Permuted]),
    of("granitemoeshared", "granitemoe", &[Permuted]),
    of("glm4_moe", "glm4moe", &[]),
    of("ernie4_5_moe", "ernie4_5-moe", &[]),
    of("hunyuan_moe", "hunyuan-moe", &[]),
    of("gpt_oss", "gpt-oss", &[]),
    of("lfm2", "lfm2", &[]),
    of("lfm2_adjust", "lfm2", &[]),
    of("lfm2_moe", "lfm2moe", &[]),
    of("mamba2", "mamba2", &[]),
    of("granite4_h_dense", "granitehybrid", &[Permuted]),
    of("granitemoehybrid", "granitehybrid", &[Permuted]),
    of("falcon_h1", "falcon-h1", &[]),
    of("deepseek_v2", "deepseek2", &[]),
    of("deepseek_v3", "deepseek2", &[ByHeads]),
    of("glm4_moe_lite", "deepseek2", &[ByHeads]),
    of("mistral4", "mistral4", &[ByHeads]),
    of("minicpm3", "minicpm3", &[]),
    of("kimi_linear", "kimi-linear", &[ByHeads]),
    of("gemma3n", "gemma3n", &[]),
    of("gemma4", "gemma4", &[]),
    of("gemma4_dense", "gemma4", &[]),
    of("gemma4_moe", "gemma4", &[]),
    of("bert", "bert", &[]),
    of("roberta", "bert", &[]),
    of("xlm_roberta", "bert", &[Qkv]),
    of("distilbert", "bert", &[]),
    of("nomic_bert", "nomic-bert", &[Qkv]),
    of("modernbert", "modern-bert", &[Qkv, GateUp]),
    of("eurobert", "eurobert", &[]),
    of("embeddinggemma", "gemma-embedding", &[PlusOne]),
];

const OUTSIDE: [(Role, &str); 6] = [
    (Role::Embedding, "token_embd"),
    (Role::EmbedNorm, "token_embd_norm"),
    (Role::Positions, "position_embd"),
    (Role::TokenTypes, "token_types"),
    (Role::FinalNorm, "output_norm"),
    (Role::Head, "output"),
];

const INSIDE: [(Role, &str); 19] = [
    (Role::InputNorm, "attn_norm"),
    (Role::Query, "attn_q"),
    (Role::Key, "attn_k"),
    (Role::Value, "attn_v"),
    (Role::Latent, "attn_kv_a_mqa"),
    (Role::LatentNorm, "attn_kv_a_norm"),
    (Role::QueryLatent, "attn_q_a"),
    (Role::QueryLatentNorm, "attn_q_a_norm"),
    (Role::QueryNorm, "attn_q_norm"),
    (Role::KeyNorm, "attn_k_norm"),
    (Role::Output, "attn_output"),
    (Role::MixedNorm, "post_attention_norm"),
    (Role::PostNorm, "ffn_norm"),
    (Role::Gate, "ffn_gate"),
    (Role::Up, "ffn_up"),
    (Role::Down, "ffn_down"),
    (Role::MlpNorm, "post_ffw_norm"),
    (Role::MixedSumNorm, "attn_output_norm"),
    (Role::MlpSumNorm, "layer_output_norm"),
];

/// Values and their shape, outermost dimension first.
type Tensor = (Vec<u64>, Vec<f32>);

pub(crate) struct Folder {
    pub(crate) family: Family,
    pub(crate) weights: Checkpoint,
}

impl Folder {
    /// The rows of a place that the files have.
    pub(crate) fn read(&self, place: &Place) -> Result<Option<Tensor>, Failed> {
        let bare = place.name.split_once('.').map_or("", |(_, rest)| rest);
        // Kimi's first layer.
        let dense = place.name.replace(".mlp.", ".block_sparse_moe.");
        let names = [place.name.clone(), format!("model.language_model.{bare}"), dense, bare.to_owned()];
        let Some(tensor) = names.iter().find_map(|name| self.weights.get(name)) else { return Ok(None) };
        let all: Vec<f32> = bytemuck::pod_collect_to_vec(&block_on(self.weights.read(tensor, 0, tensor.bytes))?);
        let (mut shape, width) = (tensor.shape.clone(), tensor.shape[1..].iter().product::<u64>() as usize);
        let Some(part) = &place.part else { return Ok(Some((shape, all))) };
        let mut values = Vec::new();
        for block in 0..part.blocks {
            let rows = (block * part.of + part.range.start) as usize..(block * part.of + part.range.end) as usize;
            values.extend_from_slice(&all[rows.start * width..rows.end * width]);
        }
        shape[0] = part.blocks * (part.range.end - part.range.start);
        Ok(Some((shape, values)))
    }

    /// The weights of norms that each head has in a tensor of its own, one behind the other.
    fn heads(&self, place: &Place) -> Result<Option<Tensor>, Failed> {
        let (mut values, mut width) = (Vec::new(), 0);
        for head in 0.. {
            let name = place.name.replace("{head}", &head.to_string());
            let Some((shape, more)) = self.read(&Place::plain(name))? else { break };
            width = shape[0];
            values.extend(more);
        }
        Ok((width > 0).then(|| (vec![values.len() as u64 / width, width], values)))
    }
}

/// Each head's rows `[2, d / 2]` as `[d / 2, 2]`.
pub(crate) fn permuted((shape, values): Tensor, dim: usize) -> Tensor {
    let (rows, width) = (shape[0] as usize, values.len() / shape[0] as usize);
    let from = |row: usize| row / dim * dim + row % dim % 2 * (dim / 2) + row % dim / 2;
    let values = (0..rows).flat_map(|row| values[from(row) * width..][..width].to_vec()).collect();
    (shape, values)
}

fn joined(parts: Vec<Tensor>) -> Tensor {
    let mut shape = parts[0].0.clone();
    shape[0] = parts.iter().map(|(shape, _)| shape[0]).sum();
    (shape, parts.into_iter().flat_map(|(_, values)| values).collect())
}

fn attention(config: &Config) -> Option<&Attention> {
    config.layers.iter().find_map(|layer| layer.mixer.attention())
}

/// The metadata of a plan.
fn metadata(config: &Config, conversion: &Conversion) -> Vec<(String, Value)> {
    let architecture = conversion.architecture;
    let none = Attention::new(1, 1, 1);
    let (a, layer) = (attention(config).unwrap_or(&none), &config.layers[0]);
    let norm = config.final_norm.or(config.embed_norm).expect("they all have one");
    let mut all = vec![
        ("context_length", U32(config.context)),
        ("embedding_length", U32(config.dim)),
        ("block_count", U32(config.layers.len() as u32)),
        ("feed_forward_length", U32(gguf_experts::inner(config))),
        ("attention.head_count", U32(attention(config).map_or(0, |a| a.heads))),
        ("attention.head_count_kv", U32(if conversion.with.contains(&ByHeads) { 1 } else { a.kv_heads })),
    ];
    all.extend(gguf_latent::metadata(config, conversion.with.contains(&ByHeads)));
    all.extend(gguf_hybrid::metadata(config, architecture));
    let layered = norm.kind == foveate_core::kernels::norm::Kind::Layer;
    all.push((
        if layered { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" },
        F32(norm.eps),
    ));
    let windows: Vec<_> = config.layers.iter().filter_map(|l| Some(l.mixer.attention()?.window)).collect();
    if let Some(window) = windows.iter().flatten().next() {
        all.push(("attention.sliding_window", U32(*window)));
        if windows.contains(&None) {
            all.push(("attention.sliding_window_pattern", Bools(windows.iter().map(Option::is_some).collect())));
        }
    }
    if let Some(f) = frequencies(config) {
        all.extend([("rope.dimension_count", U32(f.rotary)), ("rope.freq_base", F32(f.theta as f32))]);
        match f.scaling {
            Scaling::Yarn { factor, fast, slow, original, .. } => all.extend([
                ("rope.scaling.type", Text("yarn")),
                ("rope.scaling.factor", F32(factor as f32)),
                ("rope.scaling.original_context_length", U32(original as u32)),
                ("rope.scaling.yarn_beta_fast", F32(fast as f32)),
                ("rope.scaling.yarn_beta_slow", F32(slow as f32)),
                // Llama.cpp's magnitude is divided by that of this factor, of which some files hold a tenth.
                (
                    "rope.scaling.yarn_log_multiplier",
                    F32(if f.magnitude != 1.0 {
                        0.0
                    } else if a.latent.is_some() {
                        0.1
                    } else {
                        1.0
                    }),
                ),
            ]),
            Scaling::Long { original, .. } => all.extend([
                ("rope.scaling.original_context_length", U32(original)),
                ("rope.scaling.attn_factor", F32(f.magnitude as f32)),
            ]),
            _ => {}
        }
    }
    all.extend(gguf_experts::metadata(config, architecture));
    all.extend(gguf_encoders::metadata(config, architecture));
    all.extend(gguf_gemma::metadata(config, architecture));
    match architecture {
        "minicpm3" => all.extend([
            ("embedding_scale", F32(config.embed_scale)),
            ("residual_scale", F32(config.branch_scale)),
            ("logit_scale", F32(1.0 / config.logit_scale)),
        ]),
        "granite" | "granitemoe" | "granitehybrid" => all.extend([
            ("embedding_scale", F32(config.embed_scale)),
            ("residual_scale", F32(config.branch_scale)),
            ("logit_scale", F32(1.0 / config.logit_scale)),
            ("attention.scale", F32(a.scale)),
            ("rope.scaling.finetuned", Bool(a.rope.is_some())),
        ]),
        "gemma2" => all.extend([
            ("attention.scale", F32(a.scale)),
            ("attn_logit_softcapping", F32(a.softcap.expect("it has one"))),
            ("final_logit_softcapping", F32(config.logit_cap.expect("it has one"))),
        ]),
        "mistral3" | "mistral4" => {
            let beta = a.temperature.expect("it has one").beta;
            all.push(("attention.temperature_scale", F32(beta as f32)));
        }
        "command-r" | "cohere2" => all.push(("logit_scale", F32(config.logit_scale))),
        "stablelm" | "gptneox" => all.push(("use_parallel_residual", Bool(layer.parallel))),
        "mpt" => all.push(("attention.max_alibi_bias", F32(8.0))),
        _ => {}
    }
    all.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)).collect()
}

fn frequencies(config: &Config) -> Option<Frequencies> {
    let attentions = config.layers.iter().filter_map(|layer| layer.mixer.attention()).filter(|a| a.rope.is_some());
    // Layers without a window are those that may be stretched.
    let (windows, full): (Vec<_>, Vec<_>) = attentions.partition(|a| a.window.is_some());
    full.last().or(windows.last())?.rope.as_ref().map(|rope| rope.frequencies.clone())
}

pub(crate) fn convert(folder: &Folder, conversion: &Conversion) -> Result<Gguf, Failed> {
    let Folder { family, .. } = folder;
    let (config, has) = (&family.config, |with| conversion.with.contains(&with));
    let mut file = Gguf::default();
    let mut set = |key: &str, value| file.entries.insert(key.into(), value);
    set("general.architecture", Text(conversion.architecture));
    set("tokenizer.ggml.tokens", Texts(config.vocab.into()));
    for (key, value) in metadata(config, conversion) {
        set(&key, value);
    }
    let mut numbers: [Vec<f32>; 4] = Default::default();
    for (layer, kind) in (0..config.layers.len()).flat_map(|layer| [(layer, "weight"), (layer, "bias")]) {
        let (mut queries, mut gates) = (Vec::new(), Vec::new());
        let layered = INSIDE.iter().map(|(role, name)| (*role, format!("blk.{layer}.{name}.{kind}")));
        let outside = OUTSIDE.iter().filter(|_| layer == 0).map(|(role, name)| (*role, format!("{name}.{kind}")));
        for (role, name) in layered.chain(outside) {
            let own = &config.layers[layer];
            let without = (role == Role::InputNorm && own.input_norm.is_none())
                || (role == Role::PostNorm && own.post_norm.is_none())
                || (role == Role::Head && config.bidirectional())
                || (role == Role::Output && own.mixer.attention().is_none())
                || (matches!(role, Role::Key | Role::Value) && attention(config).is_some_and(|a| a.latent.is_some()))
                || (matches!(role, Role::Gate | Role::Up | Role::Down) && own.mlp.experts().is_some());
            if without {
                continue;
            }
            let place = if kind == "weight" { family.weight(role, layer) } else { family.bias(role, layer) };
            let tensor = if place.name.contains("{head}") { folder.heads(&place)? } else { folder.read(&place)? };
            let Some(mut tensor) = tensor else { continue };
            let dim = attention(config).map_or(1, |a| a.dim as usize);
            if has(Permuted) && matches!(role, Role::Query | Role::Key) {
                tensor = permuted(tensor, dim);
            }
            if has(PlusOne) && kind == "weight" && name.contains("norm") {
                tensor.1.iter_mut().for_each(|w| *w += 1.0);
            }
            if role == Role::Positions {
                // Files begin at the first position.
                let first = config.position_offset as usize + usize::from(config.padding.is_some());
                drop(tensor.1.drain(..first * config.dim as usize));
                tensor.1.truncate((config.context * config.dim) as usize);
                tensor.0[0] = config.context.into();
            }
            match role {
                Role::Query | Role::Key | Role::Value if has(Qkv) => queries.push(tensor),
                Role::Gate | Role::Up if has(GateUp) => gates.push(tensor),
                _ => drop(file.tensors.insert(renamed(config, conversion.architecture, &name), tensor)),
            }
        }
        folder.add_experts(layer, kind, &mut file)?;
        if kind == "weight" {
            folder.add_latent(layer, has(ByHeads), &mut file)?;
        }
        folder.add_convolved(layer, kind, &mut file)?;
        if kind == "weight" {
            folder.add_more(layer, conversion.architecture, &mut file)?;
        }
        for (name, parts) in [("attn_qkv", queries), ("ffn_up", gates)] {
            if !parts.is_empty() {
                file.tensors.insert(format!("blk.{layer}.{name}.{kind}"), joined(parts));
            }
        }
        for (values, name) in numbers.iter_mut().zip(["alpha_p", "alpha_n", "beta", "eps"]).filter(|_| kind == "weight")
        {
            let place = Place::plain(format!("model.layers.{layer}.mlp.act_fn.{name}"));
            let Some(tensor) = folder.weights.get(&place.name) else { continue };
            values.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&block_on(folder.weights.read(tensor, 0, 4))?));
        }
    }
    if conversion.architecture == "falcon-h1" {
        gguf_hybrid::fold(config, &mut file);
    }
    for (values, name) in numbers.into_iter().zip(["alpha_p", "alpha_n", "beta", "eps"]).filter(|(v, _)| !v.is_empty())
    {
        file.entries.insert(format!("xielu.{name}"), F32s(values));
    }
    match frequencies(config) {
        Some(Frequencies { scaling: Scaling::Long { short, long, .. }, .. }) => {
            for (name, values) in [("rope_factors_short", short), ("rope_factors_long", long)] {
                file.tensors.insert(format!("{name}.weight"), (vec![values.len() as u64], values.to_vec()));
            }
        }
        Some(Frequencies { divisors: Some(divisors), .. }) => {
            // Pairs that do not turn.
            let divisors: Vec<f32> = divisors.iter().map(|by| by.min(1e30)).collect();
            file.tensors.insert("rope_freqs.weight".into(), (vec![divisors.len() as u64], divisors));
        }
        Some(f) if matches!(f.scaling, Scaling::Llama3 { .. }) => {
            let plain = f.clone().with_scaling(Scaling::None);
            let divisors: Vec<f32> = plain.inverse(1).iter().zip(f.inverse(1)).map(|(a, b)| a / b).collect();
            file.tensors.insert("rope_freqs.weight".into(), (vec![divisors.len() as u64], divisors));
        }
        _ => {}
    }
    Ok(file)
}

/// Names that mean something else in some architectures.
fn renamed(config: &Config, architecture: &str, name: &str) -> String {
    let two = config.layers[0].parallel && config.layers[0].post_norm.is_some();
    match architecture {
        "seed_oss" | "gpt-oss" | "glm4moe" => name.replace("ffn_norm", "post_attention_norm"),
        "lfm2" | "lfm2moe" => name.replace("output_norm", "token_embd_norm"),
        "falcon" if two => name.replace("attn_norm", "attn_norm_2").replace("ffn_norm", "attn_norm"),
        _ => name.into(),
    }
}

fn open(family: &str) -> Result<Folder, Failed> {
    let path = golden().join("families").join(family);
    let weights = block_on(Checkpoint::safetensors(vec![source(&path.join("model.safetensors"))?]))?;
    Ok(Folder { family: Family::from_json(&std::fs::read(path.join("config.json"))?)?, weights })
}

/// The GGUF file of a folder.
pub(crate) fn converted(family: &str) -> Result<Gguf, Failed> {
    let conversion = ALL.iter().find(|conversion| conversion.family == family).ok_or("no such conversion")?;
    convert(&open(family)?, conversion)
}

pub(crate) fn run(backend: Any, conversion: &Conversion) -> Result<(), Failed> {
    let path = golden().join("families").join(conversion.family);
    let folder = open(conversion.family)?;
    if folder.family.config.bidirectional() {
        return gguf_encoders::run(&folder, conversion);
    }
    let bytes = convert(&folder, conversion)?.bytes();
    let weights = block_on(Checkpoint::gguf(Box::new(Memory::new("model.gguf", bytes))))?;
    let family = Family::from_gguf(weights.gguf_metadata().expect("a GGUF file has metadata"))?;
    let files = Files { weights, family, tokenizer: None, template: None };
    let golden = block_on(Checkpoint::safetensors(vec![source(&path.join("golden.safetensors"))?]))?;
    let findings = block_on(check::model(backend, files, &golden, Tolerance::MODEL_EXECUTOR))?;
    match findings.iter().find(|f| !f.passed) {
        Some(failed) => Err(format!("{}: {}", failed.name, failed.detail).into()),
        None => Ok(()),
    }
}
