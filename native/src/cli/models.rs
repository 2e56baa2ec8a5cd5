//! `foveate list`, `foveate rm`, `foveate info` and `foveate tokenize`

use super::{print, progress};
use clap::Args;
use foveate::model::Files;
use foveate::{Error, Result, catalogue};
use indicatif::HumanBytes;
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct ListArguments {
    /// Print one JSON object for each model.
    #[arg(long)]
    json: bool,
}

pub(super) fn list(arguments: &ListArguments) -> Result<ExitCode> {
    let found = foveate::cached()?;
    if found.is_empty() && !arguments.json {
        print("no models are here yet; `foveate pull` lists names\n")?;
    }
    for model in found {
        print(&match arguments.json {
            true => format!("{}\n", json!({"name": model.name, "path": model.path, "bytes": model.bytes})),
            false => format!("{:40} {:>10}  {}\n", model.name, HumanBytes(model.bytes), model.path.display()),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub(super) struct RemoveArguments {
    /// The models, by the names that `list` prints.
    #[arg(required = true)]
    names: Vec<String>,
}

pub(super) fn remove(arguments: &RemoveArguments) -> Result<ExitCode> {
    for name in &arguments.names {
        let gone = foveate::remove(name)?;
        print(&format!("deleted {} ({})\n", gone.name, HumanBytes(gone.bytes)))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub(super) struct InfoArguments {
    /// A .gguf file, a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows.
    #[arg(default_value = catalogue::DEFAULT)]
    model: OsString,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Describes a model by its headers: no weights are loaded.
pub(super) fn info(arguments: &InfoArguments) -> Result<ExitCode> {
    let files = foveate::open_with(&arguments.model, &mut progress::Bars::default().report())?;
    let about = about(&files);
    if arguments.json {
        print(&format!("{about}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in about.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Object(parts) => {
                parts.iter().map(|(format, n)| format!("{format} {n}")).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        print(&format!("{:18} {value}\n", format!("{}:", name.replace('_', " "))))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn about(files: &Files) -> serde_json::Value {
    let config = &files.family.config;
    let (mut formats, mut parameters, mut bytes) = (BTreeMap::<String, u64>::new(), 0, 0);
    for tensor in files.weights.tensors() {
        *formats.entry(tensor.stored.to_string()).or_default() += 1;
        parameters += tensor.elements();
        bytes += tensor.bytes;
    }
    let attention = config.layers.iter().find_map(|layer| layer.mixer.attention());
    let window = config.layers.iter().filter_map(|layer| layer.mixer.attention()?.window).max();
    json!({
        "architecture": config.architecture, "elements": parameters, "weights": format!("{}", HumanBytes(bytes)),
        "tensors": formats, "layers": config.layers.len(), "width": config.dim, "vocabulary": config.vocab,
        "context": config.context, "heads": attention.map(|a| a.heads), "kv_heads": attention.map(|a| a.kv_heads),
        "head_width": attention.map(|a| a.dim), "window": window, "end_tokens": files.end_tokens(),
        "tokenizer": files.tokenizer.is_some(), "chat_template": files.template.is_some(),
        "tensors_not_run": files.ignored(),
    })
}

#[derive(Args)]
pub(super) struct TokenizeArguments {
    /// The text; without one, standard input is read.
    text: Option<String>,
    /// The model whose tokenizer splits the text.
    #[arg(long, value_name = "PATH|NAME", default_value = catalogue::DEFAULT)]
    model: OsString,
    /// Leave out the tokens that the model puts around a text.
    #[arg(long)]
    no_special: bool,
    /// The text is a list of ids, with commas or spaces between them: print the text that they spell.
    #[arg(long)]
    decode: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn tokenize(arguments: &TokenizeArguments) -> Result<ExitCode> {
    let text = match &arguments.text {
        Some(text) => text.clone(),
        None => super::piped()?,
    };
    let files = foveate::open_with(&arguments.model, &mut progress::Bars::default().report())?;
    let missing = || Error::Usage { reason: format!("{} has no tokenizer", arguments.model.to_string_lossy()) };
    let tokenizer = files.tokenizer.as_ref().ok_or_else(missing)?;
    let ids = match arguments.decode {
        false => tokenizer.encode(&text, !arguments.no_special)?,
        true => {
            let parts = text.split([',', ' ', '\n', '\t', '[', ']']).filter(|part| !part.is_empty());
            let id = |part: &str| {
                part.parse::<u32>().map_err(|_| Error::Usage { reason: format!("--decode takes ids, got {part:?}") })
            };
            parts.map(id).collect::<Result<Vec<u32>>>()?
        }
    };
    let spelled = |id: u32| tokenizer.decode(&[id], false).unwrap_or_default();
    let whole = tokenizer.decode(&ids, false)?;
    print(&match (arguments.json, arguments.decode) {
        (true, _) => {
            let tokens: Vec<String> = ids.iter().map(|id| tokenizer.token(*id).unwrap_or_default()).collect();
            format!("{}\n", json!({"ids": ids, "tokens": tokens, "count": ids.len(), "text": whole}))
        }
        (false, true) => format!("{whole}\n"),
        (false, false) => ids.iter().map(|id| format!("{id:>8}  {:?}\n", spelled(*id))).collect(),
    })?;
    Ok(ExitCode::SUCCESS)
}
