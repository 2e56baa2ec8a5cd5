//! Results of a shard as the bytes of a file.

use super::input::Input;
use super::table::{self, Column, Kind};
use super::{Arguments, Task};
use clap::ValueEnum;
use foveate::{Error, Result};
use serde_json::Value;

/// The format of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// JSON lines
    Jsonl,
    /// Parquet files, compressed by Snappy
    Parquet,
}

impl Format {
    /// The format of the results of an input: what the arguments say, or that of the input.
    pub(super) fn of(arguments: &Arguments, input: &Input) -> Self {
        arguments.format.unwrap_or(match input {
            Input::Lines(_) => Self::Jsonl,
            Input::Table(_) => Self::Parquet,
        })
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The bytes of a file of results.
    pub(super) fn encode(self, rows: &[Value], task: Task, input: &Input) -> Result<Vec<u8>> {
        match self {
            Self::Jsonl => Ok(lines(rows)),
            Self::Parquet => table::write(rows, &columns(task, input)).map_err(|error| {
                let reason = format!("a shard could not be written as Parquet: {error}; give --format jsonl");
                Error::Usage { reason }
            }),
        }
    }
}

pub(super) fn lines(rows: &[Value]) -> Vec<u8> {
    rows.iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes()
}

/// The columns of a task's results. Ids are whole numbers where those of the input are, and texts elsewhere.
fn columns(task: Task, input: &Input) -> Vec<Column> {
    let numbered = matches!(input, Input::Table(table) if table.numbered());
    let mut columns: Vec<Column> = vec![("id", "/id", if numbered { Kind::Whole } else { Kind::Text })];
    columns.extend::<&[Column]>(match task {
        Task::Auto | Task::Generate | Task::Chat => &[
            ("text", "/text", Kind::Text),
            ("finish_reason", "/finish_reason", Kind::Text),
            ("prompt_tokens", "/usage/prompt_tokens", Kind::Whole),
            ("completion_tokens", "/usage/completion_tokens", Kind::Whole),
        ],
        Task::Embed => &[("vector", "/vector", Kind::Vector)],
        Task::Score => &[
            ("scored", "/scored", Kind::Whole),
            ("mean_nll", "/mean_nll", Kind::Double),
            ("perplexity", "/perplexity", Kind::Double),
        ],
    });
    columns
}
