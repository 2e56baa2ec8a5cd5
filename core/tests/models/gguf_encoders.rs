//! Encoders in GGUF files, which hold no head of tokens: hidden states and vectors are those of the folder, and heads that
//! judge texts compute what their classes do.

use super::gguf::{Conversion, Folder, convert};
use super::gguf_file::{Gguf, Value, Value::*};
use super::{folder, golden};
use foveate_core::Any;
use foveate_core::config::Config;
use foveate_core::embedding::{Embedder, Options, Recipe};
use foveate_core::host::HostBackend;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::{Family, Files, Model};
use foveate_core::rerank::{self, Reranker, classify};
use foveate_core::session::{Input, Session};
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::{Checkpoint, Memory};
use foveate_kernels::testing::{Tolerance, compare};
use libtest_mimic::Failed;
use pollster::block_on;
use std::sync::Arc;

/// Keys of encoders, with a pooling of their own for each architecture.
pub(crate) fn metadata(config: &Config, architecture: &str) -> Vec<(&'static str, Value)> {
    if !config.bidirectional() {
        return Vec::new();
    }
    let pooling = if architecture == "bert" { 2 } else { 1 };
    let mut all = vec![("pooling_type", U32(pooling))];
    // EmbeddingGemma's files take it for granted.
    if architecture != "gemma-embedding" {
        all.push(("attention.causal", Bool(false)));
    }
    let local = config.layers.iter().filter_map(|layer| layer.mixer.attention()).find(|a| a.window.is_some());
    if let Some((window, rope)) = local.and_then(|a| Some((a.window?, a.rope.as_ref()?))) {
        all.extend([
            ("attention.sliding_window", U32(2 * (window - 1))),
            ("rope.freq_base_swa", F32(rope.frequencies.theta as f32)),
        ]);
    }
    all
}

/// A model of a GGUF file.
fn load(file: &Gguf, tokenizer: Option<Tokenizer>) -> Result<Arc<Model<Any>>, Failed> {
    let weights = block_on(Checkpoint::gguf(Box::new(Memory::new("model.gguf", file.bytes()))))?;
    let family = Family::from_gguf(weights.gguf_metadata().ok_or("a GGUF file has metadata")?)?;
    let files = Files { weights, family, tokenizer, template: None };
    Ok(Arc::new(block_on(Model::load(Any::Host(HostBackend::exact_cpu(2)), files, &mut |_| Ok(())))?))
}

fn hidden(model: &Arc<Model<Any>>, ids: &[u32]) -> Result<Vec<f32>, Failed> {
    let mut rows = Vec::new();
    let mut session = Session::new(model.clone(), 128)?;
    block_on(session.hidden(Input::Tokens(ids), |given| rows.extend_from_slice(given)))?;
    Ok(rows)
}

fn agree(what: &str, got: &[f32], wanted: &[f32]) -> Result<(), Failed> {
    let difference = compare(got, wanted, Tolerance::MODEL_EXECUTOR);
    if difference.within { Ok(()) } else { Err(format!("{what}: {difference}").into()) }
}

/// `W x`, with one row of `W` for each output.
fn product(weight: &[f32], bias: &[f32], x: &[f32]) -> Vec<f32> {
    let row = |(at, row): (usize, &[f32])| {
        let sum: f64 = row.iter().zip(x).map(|(w, x)| f64::from(w * x)).sum();
        (sum + bias.get(at).map_or(0.0, |b| f64::from(*b))) as f32
    };
    weight.chunks_exact(x.len()).enumerate().map(row).collect()
}

fn unit(mut x: Vec<f32>) -> Vec<f32> {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    x.iter_mut().for_each(|x| *x /= length);
    x
}

/// Tokens without the padding of RoBERTa, whose row of positions files leave out.
fn tokens() -> Vec<u32> {
    (0..60).map(|i| 1 + (i * i + 7 * i) % 255).collect()
}

/// Adds a random tensor and returns its values.
fn add(file: &mut Gguf, name: &str, shape: &[u64], seed: u64) -> Vec<f32> {
    let values = Rng::new(seed).normals(shape.iter().product::<u64>() as usize, 0.3);
    file.tensors.insert(name.into(), (shape.into(), values.clone()));
    values
}

pub(crate) fn run(open: &Folder, conversion: &Conversion) -> Result<(), Failed> {
    let path = golden().join("families").join(conversion.family);
    let backend = Any::Host(HostBackend::exact_cpu(2));
    let of_folder = Arc::new(block_on(Model::load(backend, folder(&path)?, &mut |_| Ok(())))?);
    let mut file = convert(open, conversion)?;
    let dim = of_folder.config().dim as usize;
    let mut dense = Vec::new();
    if conversion.architecture == "gemma-embedding" {
        for (at, shape) in [[96, dim as u64], [dim as u64, 96]].into_iter().enumerate() {
            dense.push(add(&mut file, &format!("dense_{}.weight", at + 2), &shape, 3));
            for (of, size) in [("in", shape[1]), ("out", shape[0])] {
                let key = format!("gemma-embedding.dense_{}_feat_{of}", at + 2);
                file.entries.insert(key, U32(size as u32));
            }
        }
    }
    let of_file = load(&file, None)?;
    let ids = tokens();
    let wanted = hidden(&of_folder, &ids)?;
    agree("hidden states", &hidden(&of_file, &ids)?, &wanted)?;
    let mut pooled = match conversion.architecture {
        "bert" => wanted[..dim].to_vec(),
        _ => (0..dim).map(|i| wanted.iter().skip(i).step_by(dim).sum::<f32>() / ids.len() as f32).collect(),
    };
    for weight in &dense {
        pooled = product(weight, &[], &pooled);
    }
    let recipe = Recipe::of(None, &of_file);
    let vector = block_on(Embedder::new(of_file, Arc::new(recipe))?.embed_tokens(&ids, 0, &Options::new()))?;
    agree("vector", &vector, &unit(pooled))
}

/// Heads that judge texts.
pub(crate) fn heads() -> Result<(), Failed> {
    let (ids, size) = (&tokens()[..9], 64);
    let erf = |x: f64| 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
    type Activation = fn(f64) -> f64;
    let activations: [(&str, Activation); 4] =
        [("bert", f64::tanh), ("xlm_roberta", f64::tanh), ("distilbert", |x| x.max(0.0)), ("modernbert", erf)];
    for (family, activation) in activations {
        let modern = family == "modernbert";
        let mut file = super::gguf::converted(family)?;
        let dense = add(&mut file, "cls.weight", &[size, size], 1);
        let bias = if modern { Vec::new() } else { add(&mut file, "cls.bias", &[size], 2) };
        let norm = if modern { add(&mut file, "cls.norm.weight", &[size], 3) } else { Vec::new() };
        let output = add(&mut file, "cls.output.weight", &[2, size], 4);
        let last = add(&mut file, "cls.output.bias", &[2], 5);
        let model = load(&file, None)?;
        let rows = hidden(&model, ids)?;
        let width = size as usize;
        let mean = |i: usize| rows.iter().skip(i).step_by(width).sum::<f32>() / ids.len() as f32;
        let pooled = if modern { (0..width).map(mean).collect() } else { rows[..width].to_vec() };
        let mut inner: Vec<f32> =
            product(&dense, &bias, &pooled).into_iter().map(|x| activation(x.into()) as f32).collect();
        if modern {
            let mean = inner.iter().sum::<f32>() / size as f32;
            let variance = inner.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / size as f32;
            let eps = model.config().final_norm.map_or(0.0, |norm| norm.eps);
            inner.iter_mut().zip(&norm).for_each(|(x, w)| *x = (*x - mean) / (variance + eps).sqrt() * w);
        }
        let got = block_on(classify(&mut Session::new(model, 32)?, ids, &[0; 9]))?;
        agree(family, &got, &product(&output, &last, &inner))?;
        // Converters of BERT leave this layer out.
        file.tensors.retain(|name, _| !name.starts_with("cls.") || name.starts_with("cls.output"));
        match load(&file, None) {
            Err(error) if error.message().is_some_and(|message| message.contains("cls.weight")) => {}
            _ => return Err(format!("{family}: a head without its first layer").into()),
        }
    }
    answers(size as usize)
}

/// Qwen3-Reranker: a head of the rows of two answers judges as the rows themselves.
fn answers(width: usize) -> Result<(), Failed> {
    let vocab = serde_json::json!({"[UNK]": 0, "yes": 7, "no": 5, "red": 9, "blue": 30});
    let words = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "post_processor": null, "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    });
    let tokenizer = Tokenizer::from_json(words.to_string().as_bytes())?;
    let mut file = super::gguf::converted("qwen3")?;
    let judged = |file: &Gguf| -> Result<f32, Failed> {
        let mut reranker = Reranker::new(load(file, Some(tokenizer.clone()))?)?;
        // The second document finds the beginning of the prompt in the session.
        block_on(reranker.judge("red", "blue red", &rerank::Options::new()))?;
        Ok(block_on(reranker.judge("red", "red", &rerank::Options::new()))?.logit)
    };
    let wanted = judged(&file)?;
    let (_, rows) = file.tensors.get("output.weight").or(file.tensors.get("token_embd.weight")).ok_or("rows")?;
    let row = |id: usize| rows[id * width..][..width].to_vec();
    let rows = [row(7), row(5)].concat();
    file.tensors.insert("cls.output.weight".into(), (vec![2, width as u64], rows));
    agree("qwen3", &[judged(&file)?], &[wanted])?;
    // Without an output product beside it, the file leaves open whether that is the embedding.
    file.tensors.remove("output.weight");
    let mut session = Session::new(load(&file, None)?, 16)?;
    match block_on(session.logits(&[1], |_| ())) {
        Err(error) if error.to_string().contains("no output product") => Ok(()),
        other => Err(format!("logits of a reranker: {other:?}").into()),
    }
}
