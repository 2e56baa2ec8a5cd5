//! `foveate rerank`

use super::{DeviceArguments, LoraArguments, load};
use clap::Args;
use foveate::rerank::{Options, Reranker};
use foveate::{Any, Result, wait};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Arguments {
    /// A folder of a cross-encoder (its class ends in ForSequenceClassification) or of Qwen3-Reranker, a hub id (org/repo), a
    /// .gguf file of the latter, or a name that `pull` knows.
    #[arg(value_name = "MODEL")]
    model: OsString,
    /// What the documents are to answer.
    #[arg(value_name = "QUERY")]
    query: String,
    /// The documents. Without a document and without --input, standard input is one.
    #[arg(value_name = "DOCUMENT")]
    documents: Vec<String>,
    /// Read documents from a file of JSON lines: strings, or objects with a "text" and perhaps an "id"; - reads standard
    /// input.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "documents")]
    input: Option<PathBuf>,
    /// What Qwen3-Reranker is asked to judge. Cross-encoders read no instruction.
    #[arg(long, value_name = "WORDS")]
    instruction: Option<String>,
    /// Print the best N documents alone.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Cut documents that are too long. Without this flag, such a document is an error.
    #[arg(long)]
    truncate: bool,
    #[command(flatten)]
    device: DeviceArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let documents = super::embed::texts(arguments.input.as_deref(), &arguments.documents)?;
    let model = load(&arguments.model, &LoraArguments::default(), arguments.device)?;
    let mut reranker: Reranker<Any> = Reranker::new(model)?;
    let options = Options::new().truncate(arguments.truncate);
    let options = match &arguments.instruction {
        Some(words) => options.instruction(words),
        None => options,
    };
    let mut judged = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let found = wait(reranker.judge(&arguments.query, &document.text, &options));
        let found = found.map_err(|error| super::embed::named(error, "document", at, documents.len()))?;
        judged.push((found, document));
    }
    // Stable, so that equals stay in their order.
    judged.sort_by(|(a, _), (b, _)| b.logit.total_cmp(&a.logit));
    judged.truncate(arguments.top.unwrap_or(usize::MAX));
    for (found, document) in judged {
        let line: Value = json!({"id": document.id, "score": found.score, "logit": found.logit, "text": document.text});
        super::print(&format!("{line}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn documents_are_given_one_way() {
        let both = Line::try_parse_from(["rerank", "model", "query", "document", "--input", "documents.jsonl"]);
        assert!(both.is_err());
        let line = Line::try_parse_from(["rerank", "model", "query", "one", "two", "--top", "1"]).expect("a line");
        assert_eq!((line.arguments.documents.len(), line.arguments.top), (2, Some(1)));
    }
}
