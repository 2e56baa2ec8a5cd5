//! Constraints: what an answer must look like.
//!
//! A [`Constraint`] is a description: a JSON schema, a regular expression, a grammar or a list of choices. Before each token,
//! its [`Matcher`] tells which tokens can follow, as a [`Mask`]; where only one text can follow, its tokens are appended
//! without asking the model. The parser is the crate `llguidance`, behind the feature `constrain`; without it, a constraint
//! is an error where a generation begins.
//!
//! A constraint is refused if it is longer than a megabyte, if its automata take more than llguidance's limits (a million
//! nodes of expressions, half a million symbols), or if it is nested more deeply than 100 levels.

#[cfg(not(feature = "constrain"))]
mod absent;
#[cfg(feature = "constrain")]
mod gbnf;
mod lark;
mod mask;
#[cfg(feature = "constrain")]
mod matcher;
#[cfg(feature = "constrain")]
mod vocabulary;

#[cfg(not(feature = "constrain"))]
pub(crate) use absent::absent;
#[cfg(not(feature = "constrain"))]
pub use absent::{Matcher, Vocabulary};
pub(crate) use lark::quoted;
pub use mask::Mask;
#[cfg(feature = "constrain")]
pub use matcher::Matcher;
#[cfg(feature = "constrain")]
pub use vocabulary::Vocabulary;

use crate::error::{Error, Result};
use serde_json::{Value, json};

/// Bytes of a constraint's text at most.
const MOST_BYTES: usize = 1 << 20;

/// Bytes of a regular expression at most.
const MOST_REGEX_BYTES: usize = 1 << 16;

/// White space between the parts of a JSON text: enough to indent it, and an end to it, since a small model can write
/// blanks for ever.
const BLANKS: &str = r"[\x20\x0A\x0D\x09]{1,20}";

/// Levels of a schema or of brackets in a grammar: parsers of both call themselves.
const MOST_LEVELS: usize = 100;

/// The form that an answer must have.
///
/// ```
/// use foveate_core::constrain::Constraint;
/// use serde_json::json;
///
/// let person = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
/// let constraint = Constraint::json_schema(person)?;
/// assert_eq!(constraint.kind(), "json-schema");
/// # Ok::<(), foveate_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Constraint {
    form: Form,
    begins: Option<String>,
    repeats: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Form {
    Schema(Value),
    Json,
    Regex(String),
    Grammar(String),
    Choices(Vec<String>),
    Calls(String),
}

impl Constraint {
    /// An answer that is valid by a JSON schema (draft 2020-12, as `docs/constrained.md` lists it). Keys come in the order
    /// of the schema's `properties`.
    ///
    /// # Errors
    /// `Constraint` for a schema that is neither an object nor a boolean, or is too large or too deeply nested.
    pub fn json_schema(schema: Value) -> Result<Self> {
        let wrong = |reason: String| Error::constraint("json-schema", reason);
        if !(schema.is_object() || schema.is_boolean()) {
            return Err(wrong("a schema must be an object or a boolean".into()));
        }
        let levels = levels(&schema);
        if levels > MOST_LEVELS {
            return Err(wrong(format!("the schema has {levels} levels, {MOST_LEVELS} are allowed")));
        }
        let bytes = schema.to_string().len();
        if bytes > MOST_BYTES {
            return Err(wrong(format!("the schema has {bytes} bytes, {MOST_BYTES} are allowed")));
        }
        Ok(Self::new(Form::Schema(schema)))
    }

    /// An answer that is an object of JSON.
    pub fn json() -> Self {
        Self::new(Form::Json)
    }

    /// An answer that matches a regular expression from beginning to end: the syntax of the crate `regex`, without
    /// look-around and back-references.
    ///
    /// # Errors
    /// `Constraint` if it is longer than 64 KiB.
    pub fn regex(regex: impl Into<String>) -> Result<Self> {
        let regex = regex.into();
        fits("regex", &regex, MOST_REGEX_BYTES)?;
        Ok(Self::new(Form::Regex(regex)))
    }

    /// An answer that follows a grammar: Lark, as llguidance reads it, with the rule `start`; or GBNF, as llama.cpp does,
    /// with the rule `root`. A grammar with `::=` is GBNF.
    ///
    /// # Errors
    /// `Constraint` for a grammar that is too long, too deeply nested, or GBNF that can't be read.
    pub fn grammar(grammar: impl Into<String>) -> Result<Self> {
        let grammar = grammar.into();
        fits("grammar", &grammar, MOST_BYTES)?;
        Ok(Self::new(Form::Grammar(grammar)))
    }

    /// An answer that is one of some texts.
    ///
    /// # Errors
    /// `Constraint` if there are none, one is empty, or all are longer than a megabyte.
    pub fn choices<S: Into<String>>(choices: impl IntoIterator<Item = S>) -> Result<Self> {
        let choices: Vec<String> = choices.into_iter().map(Into::into).collect();
        let bytes: usize = choices.iter().map(String::len).sum();
        if choices.is_empty() || choices.iter().any(String::is_empty) || bytes > MOST_BYTES {
            let reason = format!(
                "give at least one choice, none of them empty, and {MOST_BYTES} bytes at most; got {} of {bytes} bytes",
                choices.len()
            );
            return Err(Error::constraint("choice", reason));
        }
        Ok(Self::new(Form::Choices(choices)))
    }

    /// Calls of tools, as a grammar in Lark that was written here.
    pub(crate) fn calls(grammar: String) -> Result<Self> {
        fits("tools", &grammar, MOST_BYTES)?;
        Ok(Self::new(Form::Calls(grammar)))
    }

    /// Compiles the constraint for the vocabulary of all bytes, and so finds its mistakes without a model.
    ///
    /// # Errors
    /// `Constraint` for one that is wrong, uses what is not implemented, or costs more than its limits.
    #[cfg(feature = "constrain")]
    pub fn validate(&self) -> Result<()> {
        Matcher::new(self, &std::sync::Arc::new(Vocabulary::of_bytes()?)).map(drop)
    }

    fn new(form: Form) -> Self {
        Self { form, begins: None, repeats: false }
    }

    /// Lets the model write freely until it has written `text`; the constraint is on what follows.
    pub fn after(self, text: impl Into<String>) -> Self {
        Self { begins: Some(text.into()).filter(|text| !text.is_empty()), ..self }
    }

    /// As [`after`](Self::after), each time that the model writes `text`: once the constraint is fulfilled, it writes freely
    /// again.
    pub fn after_each(self, text: impl Into<String>) -> Self {
        Self { repeats: true, ..self.after(text) }
    }

    /// The kind of constraint, by the name of its flag: `json-schema`, `json-mode`, `regex`, `grammar`, `choice` or
    /// `tools`.
    pub fn kind(&self) -> &'static str {
        match self.form {
            Form::Schema(_) => "json-schema",
            Form::Json => "json-mode",
            Form::Regex(_) => "regex",
            Form::Grammar(_) => "grammar",
            Form::Choices(_) => "choice",
            Form::Calls(_) => "tools",
        }
    }

    /// The text that the constraint begins behind, if it does not begin at once.
    pub fn begins(&self) -> Option<&str> {
        self.begins.as_deref()
    }

    /// True if the constraint begins anew each time that its beginning is written.
    pub fn repeats(&self) -> bool {
        self.repeats
    }
}

/// A schema with a bound on white space, unless it says something of its own.
pub(crate) fn with_blanks(mut schema: Value) -> Value {
    if schema == Value::Bool(true) {
        schema = json!({});
    }
    if let Some(keys) = schema.as_object_mut() {
        keys.entry("x-guidance").or_insert_with(|| json!({"whitespace_pattern": BLANKS}));
    }
    schema
}

/// # Errors
/// `Constraint` for a text that is longer than `most` bytes.
fn fits(what: &'static str, text: &str, most: usize) -> Result<()> {
    match text.len() {
        bytes if bytes > most => Err(Error::constraint(what, format!("it has {bytes} bytes, {most} are allowed"))),
        0 => Err(Error::constraint(what, "it is empty")),
        _ => Ok(()),
    }
}

/// Levels of arrays and objects, counted without calling itself.
fn levels(value: &Value) -> usize {
    let (mut most, mut waiting) = (0, vec![(value, 1)]);
    while let Some((value, level)) = waiting.pop() {
        most = most.max(level);
        match value {
            Value::Array(items) => waiting.extend(items.iter().map(|item| (item, level + 1))),
            Value::Object(map) => waiting.extend(map.values().map(|item| (item, level + 1))),
            _ => {}
        }
    }
    most
}
