//! `foveate embed`

use super::{DeviceArguments, LoraArguments, load};
use clap::Args;
use foveate::embedding::{Embedder, Options, Prompt, Recipe, output};
use foveate::{Any, Error, Result, wait};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args)]
pub(super) struct Arguments {
    /// A folder with config.json and safetensors, a hub id (org/repo), a .gguf file, or a name that `pull` knows.
    #[arg(value_name = "MODEL")]
    model: OsString,
    /// The texts. Without a text and without --input, standard input is one.
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Read texts from a file of JSON lines: strings, or objects with a "text" and perhaps an "id"; - reads standard input.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "texts")]
    input: Option<PathBuf>,
    /// Put the prompt of this name, which the model's folder knows, in front of each text.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["prompt_text", "no_prompt"])]
    prompt: Option<String>,
    /// Put these words in front of each text.
    #[arg(long, value_name = "WORDS", conflicts_with = "no_prompt")]
    prompt_text: Option<String>,
    /// Put nothing in front of texts, even if the model has a default prompt.
    #[arg(long)]
    no_prompt: bool,
    /// Cut texts that are too long, as sentence-transformers does. Without this flag, such a text is an error.
    #[arg(long)]
    truncate: bool,
    /// Keep the first N elements of each vector.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    dim: Option<u32>,
    /// Divide each vector by its length, after --dim.
    #[arg(long)]
    normalize: bool,
    /// Print how similar two texts are, by the function that the model's folder names, or else the cosine.
    #[arg(long, conflicts_with = "out")]
    similarity: bool,
    /// Write the vectors into this file, .npy or .safetensors, instead of printing them.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    lora: LoraArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

/// A text, and what it is called.
pub(super) struct Text {
    pub(super) id: Value,
    pub(super) text: String,
}

/// The format of a file of vectors.
type Write = fn(&[Vec<f32>]) -> foveate::Result<Vec<u8>, foveate::RuntimeError>;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let write = arguments.out.as_deref().map(format).transpose()?;
    let texts = texts(arguments.input.as_deref(), &arguments.texts)?;
    if arguments.similarity && texts.len() != 2 {
        return Err(Error::Usage { reason: format!("--similarity compares two texts, got {}", texts.len()) });
    }
    let recipe = foveate::recipe(&arguments.model)?;
    let model = load(&arguments.model, &arguments.lora, arguments.device)?;
    if recipe.is_none() && model.config().pooled.is_none() {
        eprintln!("the model has no modules.json and names no pooling: vectors are the mean of all tokens");
    }
    let recipe = Recipe::of(recipe, &model);
    let mut embedder: Embedder<Any> = Embedder::new(model, Arc::new(recipe))?;
    let options = options(arguments);
    let mut vectors = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let vector =
            wait(embedder.embed(&text.text, &options)).map_err(|error| named(error, "text", at, texts.len()))?;
        if arguments.similarity || write.is_some() {
            vectors.push(vector);
        } else {
            super::print(&format!("{}\n", json!({"id": text.id, "vector": vector})))?;
        }
    }
    if let (true, [a, b]) = (arguments.similarity, &vectors[..]) {
        super::print(&format!("{:.6}\n", embedder.recipe().similarity.of(a, b)))?;
    }
    if let (Some(write), Some(path)) = (write, &arguments.out) {
        let failed =
            |error: std::io::Error| Error::File { path: path.display().to_string(), reason: error.to_string() };
        std::fs::write(path, write(&vectors)?).map_err(failed)?;
        eprintln!("{}: {} vectors of {} elements", path.display(), vectors.len(), vectors.first().map_or(0, Vec::len));
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts `kind` and number in front of the error of one of several texts, and adds a hint at --truncate.
pub(super) fn named(error: foveate::RuntimeError, kind: &str, at: usize, of: usize) -> Error {
    let hint = matches!(error, foveate::RuntimeError::ContextFull { .. });
    let hint = if hint { " (--truncate cuts it)" } else { "" };
    match of {
        1 if hint.is_empty() => error.into(),
        1 => Error::Usage { reason: format!("{error}{hint}") },
        _ => Error::Usage { reason: format!("{kind} {}: {error}{hint}", at + 1) },
    }
}

fn format(path: &Path) -> Result<Write> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npy") => Ok(output::npy),
        Some("safetensors") => Ok(output::safetensors),
        _ => Err(Error::Usage { reason: format!("--out must end in .npy or .safetensors, got {}", path.display()) }),
    }
}

fn options(arguments: &Arguments) -> Options {
    let prompt = match (&arguments.prompt, &arguments.prompt_text) {
        (Some(name), _) => Prompt::Named(name.clone()),
        (None, Some(words)) => Prompt::Text(words.clone()),
        (None, None) if arguments.no_prompt => Prompt::None,
        (None, None) => Prompt::Default,
    };
    let options = Options::new().prompt(prompt).truncate(arguments.truncate).normalize(arguments.normalize);
    match arguments.dim {
        Some(dim) => options.dim(dim),
        None => options,
    }
}

/// The texts of a file of JSON lines, or those that are given, or standard input.
pub(super) fn texts(input: Option<&Path>, given: &[String]) -> Result<Vec<Text>> {
    if let Some(path) = input {
        let name = path.display().to_string();
        let all = super::read((path != Path::new("-")).then_some(path))?;
        let lines = all.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let texts: Vec<Text> = lines.map(|(at, line)| of_line(&name, at, line)).collect::<Result<_>>()?;
        return match texts.is_empty() {
            true => Err(Error::File { path: name, reason: "it holds no text".into() }),
            false => Ok(texts),
        };
    }
    let given = if given.is_empty() { vec![super::piped()?] } else { given.to_vec() };
    if given.iter().all(String::is_empty) {
        return Err(Error::Usage { reason: "there is no text: give one in quotes, or a file with --input".into() });
    }
    Ok(given.into_iter().enumerate().map(|(at, text)| Text { id: json!(at), text }).collect())
}

/// A line of JSON: a text, or an object that holds one.
fn of_line(file: &str, at: usize, line: &str) -> Result<Text> {
    let wrong = |reason: String| Error::File { path: file.into(), reason: format!("line {}: {reason}", at + 1) };
    let value: Value = serde_json::from_str(line).map_err(|error| {
        let column = error.column();
        wrong(format!("--input must name a file of JSON lines, and column {column} is where this is none"))
    })?;
    let text = value.as_str().or_else(|| value.get("text")?.as_str());
    let text = text.ok_or_else(|| wrong("it must be a string, or an object with a \"text\"".into()))?;
    let id = value.get("id").cloned().unwrap_or(json!(at));
    Ok(Text { id, text: text.into() })
}
