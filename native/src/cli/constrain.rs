//! The form that the text must have: flags that `generate`, `chat` and `run` share.

use clap::Args;
use foveate::constrain::Constraint;
use foveate::{Error, Result, RuntimeError};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct ConstraintArguments {
    /// A file with a JSON schema that the text must be valid by.
    #[arg(long, value_name = "FILE", group = "constraint")]
    json_schema: Option<PathBuf>,
    /// The text must be an object of JSON.
    #[arg(long, group = "constraint")]
    json_mode: bool,
    /// A regular expression that the whole text must match.
    #[arg(long, value_name = "R", group = "constraint")]
    regex: Option<String>,
    /// A file with a grammar that the text must follow: Lark, with the rule start, or GBNF, with the rule root.
    #[arg(long, value_name = "FILE", group = "constraint")]
    grammar: Option<PathBuf>,
    /// The text must be this one, or another one of these. Repeatable.
    #[arg(long, value_name = "TEXT", group = "constraint")]
    choice: Vec<String>,
}

impl ConstraintArguments {
    /// The constraint, if there is one.
    pub(super) fn constraint(&self) -> Result<Option<Constraint>> {
        let constraint = if let Some(path) = &self.json_schema {
            let schema = serde_json::from_str(&super::read(Some(path))?);
            let schema =
                schema.map_err(|error| of_file(path, format!("--json-schema must name a file of JSON: {error}")));
            Constraint::json_schema(schema?).map_err(|error| of_file(path, named(error.into()).to_string()))
        } else if let Some(path) = &self.grammar {
            let grammar = Constraint::grammar(super::read(Some(path))?);
            grammar.map_err(|error| of_file(path, named(error.into()).to_string()))
        } else if let Some(regex) = &self.regex {
            Constraint::regex(regex).map_err(Error::from)
        } else if !self.choice.is_empty() {
            Constraint::choices(&self.choice).map_err(Error::from)
        } else if self.json_mode {
            Ok(Constraint::json())
        } else {
            return Ok(None);
        };
        constraint.map(Some)
    }
}

fn of_file(path: &Path, reason: String) -> Error {
    Error::File { path: path.display().to_string(), reason }
}

/// An error of a constraint with the name of its flag.
pub(super) fn named(error: Error) -> Error {
    match error {
        Error::Core(RuntimeError::Constraint { what, reason }) => {
            Error::Usage { reason: format!("--{what}: {reason}") }
        }
        other => other,
    }
}
