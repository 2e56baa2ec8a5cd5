//! Input of a conversation: with editing and history on a terminal, plain lines elsewhere.

use foveate::{Error, Result};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use std::io::{BufRead, IsTerminal, StdinLock};
use std::path::PathBuf;

/// Begins and ends a message of several lines.
const BLOCK: &str = "\"\"\"";

/// Lines in the history at most.
const HISTORY_LINES: usize = 1000;

pub(super) enum Lines {
    Terminal { editor: Box<DefaultEditor>, history: Option<PathBuf> },
    Piped(std::io::Lines<StdinLock<'static>>),
}

/// The result of reading a message.
pub(super) enum Line {
    Text(String),
    /// Ctrl-C: the line is given up.
    Interrupted,
    End,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::File { path: "standard input".into(), reason: error.to_string() }
}

/// The file of the history: `FOVEATE_HISTORY`, which is none if it is empty, or one in the user's data folder.
fn history() -> Option<PathBuf> {
    match std::env::var_os("FOVEATE_HISTORY") {
        Some(path) => (!path.is_empty()).then(|| path.into()),
        None => Some(directories::ProjectDirs::from("", "", "foveate")?.data_local_dir().join("history")),
    }
}

impl Lines {
    pub(super) fn open() -> Result<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Lines::Piped(std::io::stdin().lock().lines()));
        }
        let config = Config::builder().max_history_size(HISTORY_LINES).map_err(failed)?.auto_add_history(true).build();
        let mut editor = Box::new(DefaultEditor::with_config(config).map_err(failed)?);
        let history = history();
        if let Some(path) = &history {
            // The file is missing the first time.
            let _ = editor.load_history(path);
        }
        Ok(Lines::Terminal { editor, history })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Lines::Terminal { .. })
    }

    fn line(&mut self, prompt: &str) -> Result<Line> {
        match self {
            Lines::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(failed(error)),
            },
            Lines::Piped(lines) => lines.next().map_or(Ok(Line::End), |line| line.map(Line::Text).map_err(failed)),
        }
    }

    /// The next message. On a terminal, a line that ends with a backslash goes on in the next one. Lines between two `"""`
    /// are one message everywhere; the end of the input ends it as well.
    pub(super) fn next(&mut self, prompt: &str) -> Result<Line> {
        let first = match self.line(prompt)? {
            Line::Text(line) => line,
            other => return Ok(other),
        };
        if let Some(rest) = first.trim_start().strip_prefix(BLOCK) {
            return self.block(rest);
        }
        let mut text = first;
        while self.is_terminal() && text.ends_with('\\') {
            text.pop();
            text.push('\n');
            match self.line("... ")? {
                Line::Text(line) => text.push_str(&line),
                Line::Interrupted => return Ok(Line::Interrupted),
                Line::End => break,
            }
        }
        Ok(Line::Text(text))
    }

    fn block(&mut self, first: &str) -> Result<Line> {
        let (mut text, mut line) = (String::new(), first.to_owned());
        loop {
            if let Some(end) = line.trim_end().strip_suffix(BLOCK) {
                text.push_str(end);
                return Ok(Line::Text(text));
            }
            text.push_str(&line);
            // The line of the opening mark may be empty.
            if !text.is_empty() {
                text.push('\n');
            }
            line = match self.line("... ")? {
                Line::Text(line) => line,
                Line::Interrupted => return Ok(Line::Interrupted),
                Line::End => return Ok(Line::Text(text)),
            };
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Lines::Terminal { editor, history: Some(path) } = self {
            // A history that can't be kept is no reason to fail.
            let folder = path.parent().map(std::fs::create_dir_all);
            if folder.is_none_or(|made| made.is_ok()) {
                let _ = editor.save_history(path);
            }
        }
    }
}
