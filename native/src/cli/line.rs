//! Parsing of the command line, and its errors.

use super::Cli;
use clap::builder::RangedI64ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, CommandFactory, FromArgMatches};
use std::error::Error;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};
use std::ops::RangeBounds;

impl Cli {
    /// Parses the command line, or ends the program with an error. A number with a minus is the value of the flag in front of
    /// it, so that the error names both.
    pub(crate) fn of_command_line() -> Self {
        let takes_numbers = |arg: Arg| match arg.get_action().takes_values() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        };
        let command = Cli::command().mut_subcommands(|command| command.mut_args(takes_numbers));
        let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
        parsed.unwrap_or_else(|error| match no_number(&error) {
            Some(line) => {
                eprintln!("error: {line}");
                std::process::exit(2)
            }
            None => error.exit(),
        })
    }
}

/// The error of a text that is no number, with the flag and what it takes.
fn no_number(error: &clap::Error) -> Option<String> {
    let source = error.source()?;
    let expected = match source.downcast_ref::<ParseIntError>() {
        Some(error) if *error.kind() == IntErrorKind::PosOverflow => "a smaller number",
        Some(_) => "a whole number, 0 or more",
        None => source.downcast_ref::<ParseFloatError>().map(|_| "a number")?,
    };
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    };
    let (flag, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let flag = flag.split_whitespace().next().unwrap_or(flag);
    Some(format!("{flag} must be {expected}, got {value:?}"))
}

/// Returns whether a command has a flag of this name.
pub(super) fn is_flag(name: &str) -> bool {
    Cli::command().get_subcommands().flat_map(clap::Command::get_arguments).any(|arg| arg.get_long() == Some(name))
}

/// A parser of whole numbers within a range. Its errors name the range for negative numbers, too.
pub(super) fn count<T: TryFrom<i64> + Clone + Send + Sync>(range: impl RangeBounds<i64>) -> RangedI64ValueParser<T> {
    RangedI64ValueParser::new().range(range)
}
