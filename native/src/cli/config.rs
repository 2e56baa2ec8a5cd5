//! A file of flags.

use foveate::kernels::ops::settings::nearest;
use foveate::{Error, Result};
use std::ffi::OsString;
use std::path::Path;
use toml::{Table, Value};

fn file(path: &Path, reason: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}

/// The flags of a file that are not given on the command line, as words of a line of `command`.
///
/// # Errors
/// `File` if it is no TOML, or holds what is no flag of the command.
pub(super) fn words(path: &Path, given: &[OsString], command: &clap::Command) -> Result<Vec<OsString>> {
    let text = super::read(Some(path))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        file(path, format!("line {line} is no TOML: {}", error.message().trim_end()))
    })?;
    let is_given = |flag: &str| {
        let begins = |word: &OsString| word.to_str().is_some_and(|word| word.split('=').next() == Some(flag));
        given.iter().any(begins)
    };
    let known = || command.get_arguments().filter_map(clap::Arg::get_long);
    let mut words = Vec::new();
    for (name, value) in &table {
        let long = name.replace('_', "-");
        if !known().any(|flag| flag == long) {
            let near = nearest(&long, known()).map(|near| format!(": did you mean {}?", near.replace('-', "_")));
            return Err(file(path, format!("no flag is named {name}{}", near.unwrap_or_default())));
        }
        let flag = format!("--{long}");
        if flag == "--config" {
            return Err(file(path, "config is a flag of the command line"));
        }
        if is_given(&flag) {
            continue;
        }
        let plain = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Integer(number) => Ok(number.to_string()),
            Value::Float(number) => Ok(number.to_string()),
            _ => Err(file(path, format!("{name} must be a string, a number, true, false, or a list of these"))),
        };
        match value {
            Value::Boolean(false) => {}
            Value::Boolean(true) => words.push(flag.into()),
            Value::Array(items) => {
                for item in items {
                    words.push(format!("{flag}={}", plain(item)?).into());
                }
            }
            value => words.push(format!("{flag}={}", plain(value)?).into()),
        }
    }
    Ok(words)
}

/// Turns the first line of clap's error about the flags of a file into an error that names the file.
pub(super) fn wrong(path: &Path, error: &clap::Error) -> Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    file(path, first.strip_prefix("error: ").unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_of_a_file_stand_behind_those_of_the_command_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("serve.toml");
        let read = |text: &str, given: &[&str]| {
            std::fs::write(&path, text).expect("room on the disk");
            let given: Vec<OsString> = given.iter().map(OsString::from).collect();
            words(&path, &given, &super::super::Cli::command().find_subcommand("serve").expect("a command").clone())
        };
        let text =
            "port = 8081\nmodel = ['a', 'b c']\nno_batch_invariance = true\nbaseline = false\ntop_logprobs = 3\n";
        let found = read(text, &["--port", "1", "--top-logprobs=2"]).expect("flags");
        assert_eq!(found, ["--model=a", "--model=b c", "--no-batch-invariance"]);
        for (wrong, reason) in [
            ("port = ", ""),
            ("port = {a = 1}", "port must be a string"),
            ("config = 'x'", "config is a flag"),
            ("model = [[1]]", "model must be"),
            ("prot = 8081", "no flag is named prot: did you mean port?"),
            ("step_token = 1", "no flag is named step_token: did you mean step_tokens?"),
            ("colour = 'red'", "no flag is named colour"),
        ] {
            let error = read(wrong, &[]).expect_err(wrong).to_string();
            assert!(error.contains("serve.toml") && error.contains(reason), "{error}");
        }
    }
}
