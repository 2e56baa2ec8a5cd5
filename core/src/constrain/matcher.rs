//! How far an answer has met its constraint.

use super::{Constraint, Form, MOST_LEVELS, Mask, Vocabulary, gbnf, lark, with_blanks};
use crate::error::{Error, Result, one_line};
use llguidance::Matcher as Parser;
use llguidance::api::TopLevelGrammar;
use serde_json::json;
use std::sync::Arc;

/// Bytes of stack for compiling a constraint: its parsers call themselves for each level.
#[cfg(not(target_arch = "wasm32"))]
const STACK: usize = 64 << 20;

/// The state of a constraint behind some tokens. A clone goes its own way.
#[derive(Clone)]
pub struct Matcher {
    parser: Parser,
    vocabulary: Arc<Vocabulary>,
    what: &'static str,
}

impl Matcher {
    /// Compiles a constraint.
    ///
    /// # Errors
    /// `Constraint` for one that is wrong, uses what is not implemented, or costs more than its limits.
    pub fn new(constraint: &Constraint, vocabulary: &Arc<Vocabulary>) -> Result<Self> {
        let what = constraint.kind();
        let wrong = |reason: String| Error::constraint(what, reason);
        let grammar = grammar(&constraint.form).map_err(wrong)?;
        let parser = with_stack(|| Parser::new(vocabulary.factory().create_parser(grammar)));
        let parser = parser.ok_or_else(|| Error::constraint(what, "it could not be compiled"))?;
        let mut matcher = Self { parser, vocabulary: vocabulary.clone(), what };
        // The parser finds out only now whether any token can come first.
        if !matcher.is_complete() {
            matcher.mask()?;
        }
        Ok(matcher)
    }

    /// Computes the tokens that may follow. Those that end a text are among them where the answer may end.
    ///
    /// # Errors
    /// `Constraint` if nothing may follow, or the limits of a step are exceeded.
    pub fn mask(&mut self) -> Result<Mask> {
        let mask = self.parser.compute_mask_or_eos().map_err(|error| self.failed(error))?;
        Ok(Mask::from_words(mask.into()))
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// `Constraint` for a token that the mask does not allow.
    pub fn accept(&mut self, id: u32) -> Result<()> {
        self.parser.consume_token(id).map_err(|error| self.failed(error))
    }

    /// Takes a text, in whatever tokens.
    ///
    /// # Errors
    /// `Constraint` if it can't follow.
    pub fn accept_text(&mut self, text: &str) -> Result<()> {
        let ids = self.vocabulary.tokens(text);
        self.parser.consume_tokens(&ids).map_err(|error| self.failed(error))
    }

    /// The tokens that follow in any case, as the tokenizer splits their text. The last few are left out where a longer
    /// token could begin with them.
    pub fn forced(&mut self) -> Vec<u32> {
        if self.is_complete() { Vec::new() } else { self.parser.compute_ff_tokens() }
    }

    /// True if the answer may end here.
    pub fn may_end(&mut self) -> bool {
        self.is_complete() || self.parser.is_accepting().unwrap_or(false)
    }

    /// True if the answer is complete: nothing can follow.
    pub fn is_complete(&self) -> bool {
        self.parser.is_stopped() && self.parser.stop_reason().is_ok()
    }

    /// Takes back the last tokens.
    ///
    /// # Errors
    /// `Constraint` if there were not that many.
    pub fn rollback(&mut self, tokens: usize) -> Result<()> {
        self.parser.rollback(tokens).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: impl std::fmt::Display) -> Error {
        let text = error.to_string();
        // The first line says it, or one that is marked further down; grammars and drawings stand between.
        let mut lines = text.lines();
        let first = located(lines.next().unwrap_or_default());
        let marked = lines.find_map(|line| line.trim().strip_prefix("error: "));
        let reason = match &*first {
            "NoExtensionBias" => "no text can meet it".into(),
            first => one_line(&[Some(first), marked].into_iter().flatten().collect::<Vec<_>>().join(" ")),
        };
        Error::constraint(self.what, plain(self.what, reason))
    }
}

/// An error of the parser of Lark whose `2(5):` is written out.
fn located(error: &str) -> String {
    let place = error.strip_prefix("at ").unwrap_or(error).split_once("): ");
    let numbers = place.and_then(|(place, rest)| Some((place.split_once('(')?, rest)));
    match numbers {
        Some(((line, column), rest)) if [line, column].iter().all(|n| n.parse::<usize>().is_ok()) => {
            format!("line {line}, column {column}: {rest}")
        }
        _ => error.into(),
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matcher({})", self.what)
    }
}

fn grammar(form: &Form) -> Result<TopLevelGrammar, String> {
    let lark = |text: &str| match lark::levels(text) {
        levels if levels > MOST_LEVELS => Err(format!("brackets nest {levels} deep, {MOST_LEVELS} are allowed")),
        _ => Ok(TopLevelGrammar::from_lark(text.to_owned())),
    };
    match form {
        Form::Schema(schema) => Ok(TopLevelGrammar::from_json_schema(with_blanks(schema.clone()))),
        Form::Json => Ok(TopLevelGrammar::from_json_schema(with_blanks(json!({"type": "object"})))),
        Form::Regex(regex) => Ok(TopLevelGrammar::from_regex(regex)),
        Form::Grammar(text) if gbnf::is_gbnf(text) => lark(&gbnf::to_lark(text)?),
        Form::Grammar(text) | Form::Calls(text) => lark(text),
        Form::Choices(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| lark::quoted(choice)).collect();
            Ok(TopLevelGrammar::from_lark(format!("start: CHOICE\nCHOICE: {}\n", choices.join(" | "))))
        }
    }
}

/// A mistake as its author finds it: without the place in the grammar that a regular expression became, and with what a schema
/// may have instead.
fn plain(what: &str, reason: String) -> String {
    match what {
        "regex" => match reason.find("invalid regex") {
            Some(at) => reason[at..].replace(" (in regex): regex parse error", ""),
            None => reason,
        },
        "json-schema" if reason.starts_with("Unimplemented keys") => {
            format!("{reason}; docs/constrained.md lists the keywords of schemas that are read")
        }
        "json-schema" if reason.starts_with("Invalid type") => {
            format!("{reason}; the types are null, boolean, integer, number, string, array and object")
        }
        _ => reason,
    }
}

/// Runs what calls itself for each level of a stranger's grammar.
#[cfg(not(target_arch = "wasm32"))]
fn with_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    let thread = std::thread::Builder::new().stack_size(STACK);
    std::thread::scope(|scope| thread.spawn_scoped(scope, run).ok()?.join().ok())
}

#[cfg(target_arch = "wasm32")]
fn with_stack<T>(run: impl FnOnce() -> T) -> Option<T> {
    Some(run())
}
