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
    /// The constraint, if there is one, compiled once to find its mistakes.
    pub(super) fn constraint(&self) -> Result<Option<Constraint>> {
        let file = self.json_schema.as_deref().or(self.grammar.as_deref());
        let refused = |error: RuntimeError| match file {
            Some(path) => of_file(path, named(error.into()).to_string()),
            None => error.into(),
        };
        let constraint = if let Some(path) = &self.json_schema {
            let schema = serde_json::from_str(&super::read_of("--json-schema", path)?);
            let schema =
                schema.map_err(|error| of_file(path, format!("--json-schema must name a file of JSON: {error}")));
            Constraint::json_schema(schema?)
        } else if let Some(path) = &self.grammar {
            Constraint::grammar(super::read_of("--grammar", path)?)
        } else if let Some(regex) = &self.regex {
            Constraint::regex(regex)
        } else if !self.choice.is_empty() {
            Constraint::choices(&self.choice)
        } else if self.json_mode {
            Ok(Constraint::json())
        } else {
            return Ok(None);
        };
        // Mistakes are found before the model is loaded.
        constraint.and_then(|constraint| constraint.validate().map(|()| Some(constraint))).map_err(refused)
    }
}

fn of_file(path: &Path, reason: String) -> Error {
    Error::File { path: path.display().to_string(), reason }
}

/// An error of a constraint or of a setting with the name of its flag.
pub(super) fn named(error: Error) -> Error {
    match error {
        Error::Core(RuntimeError::OutOfRange { setting, expected, got }) => {
            let flag = if super::line::is_flag(setting) { "--" } else { "--sampler " };
            Error::Usage { reason: format!("{flag}{setting} must be {expected}, got {got}") }
        }
        Error::Core(RuntimeError::Constraint { what, reason }) => {
            Error::Usage { reason: format!("--{what}: {reason}") }
        }
        other => other,
    }
}
