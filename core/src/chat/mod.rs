//! Chat templates: how a model wants the turns of a conversation written down.
//!
//! A template is Jinja as Hugging Face's transformers runs it: `trim_blocks`, `lstrip_blocks`, loop controls, the methods
//! of Python's strings, `{% generation %}`, `raise_exception`, `tojson`, and `strftime_now` if the caller gives the time.
//! minijinja runs it; what that lacks is added here, or rewritten before (see `rewrite.rs`). A template comes with the
//! model and is not trusted: it reads nothing but what it is given, and its work and output are bounded.

mod arguments;
mod characters;
mod date;
mod filters;
mod json;
mod lexer;
mod message;
mod methods;
mod percent;
mod python;
mod rewrite;
mod strings;

pub use date::DateTime;
pub use message::{Inputs, Message};

use std::panic::{AssertUnwindSafe, catch_unwind};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, Error as JinjaError, Output, State, UndefinedBehavior, Value};
use serde_json::Map;

use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;

/// Work that any conversation may take: a unit is one instruction, or 64 bytes of text made.
const FUEL: u64 = 2_000_000;

/// Work besides for each byte of the conversation.
const FUEL_PER_BYTE: u64 = 2;

/// Macros that call each other, and parentheses within parentheses.
const MAX_RECURSION: usize = 100;

/// The name of the template that is used unless another is asked for, and of the one for tools.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// The chat templates of a model, compiled: most models have one. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
    /// The names of all templates, with the errors of those that are not Jinja.
    named: Vec<(String, Result<()>)>,
    /// Variables that hold the texts of special tokens.
    tokens: Vec<(String, String)>,
    now: Option<DateTime>,
}

impl Template {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens that begin and end a text, for models that have
    /// them.
    ///
    /// # Errors
    /// [`Error::Template`] with the line that is not Jinja.
    pub fn from_source(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self> {
        let tokens = [("bos_token", bos), ("eos_token", eos)];
        let tokens = tokens.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned())));
        let template = Self::from_named([(DEFAULT, source)], tokens)?;
        template.check()?;
        Ok(template)
    }

    /// Compiles several templates with names; transformers uses `default` and, if there are tools, `tool_use`. Errors in
    /// them are kept until they are used: a model without a usable template can still complete texts. `tokens` are the
    /// variables that hold the texts of special tokens, such as `bos_token`.
    ///
    /// # Errors
    /// [`Error::Template`] if there are none.
    pub fn from_named<'a>(
        sources: impl IntoIterator<Item = (&'a str, &'a str)>,
        tokens: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut environment = environment()?;
        let mut named = Vec::new();
        for (name, source) in sources {
            let compiled = rewrite::rewrite(source).map_err(Error::template).and_then(|source| {
                guarded(|| environment.add_template_owned(name.to_owned(), source)) //
            });
            named.retain(|(other, _)| other != name);
            named.push((name.to_owned(), compiled));
        }
        if named.is_empty() {
            return Err(Error::template("the model has none"));
        }
        Ok(Template { environment, named, tokens: tokens.into_iter().collect(), now: None })
    }

    /// The templates in the metadata of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Template`] if there is none.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        const KEY: &str = "tokenizer.chat_template";
        let others = metadata.strings("tokenizer.chat_templates").into_iter().flat_map(|names| names.iter());
        let others = others.filter_map(|name| Some((name, metadata.str(&format!("{KEY}.{name}"))?)));
        let sources = metadata.str(KEY).map(|source| (DEFAULT, source)).into_iter().chain(others);
        let roles = [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("sep", "seperator"), ("pad", "padding")];
        let tokens = roles.into_iter().filter_map(|(variable, role)| {
            let id = metadata.u64(&format!("tokenizer.ggml.{role}_token_id"))?;
            let text = metadata.strings("tokenizer.ggml.tokens")?.get(usize::try_from(id).ok()?)?;
            Some((format!("{variable}_token"), text.to_owned()))
        });
        Self::from_named(sources, tokens)
    }

    /// Gives templates that ask for it the time. Without it `strftime_now` is undefined, and templates fall back to a
    /// date of their own: the library has no clock.
    pub fn with_now(mut self, now: DateTime) -> Self {
        self.now = Some(now);
        self
    }

    /// The names of all templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    /// The text of the template that these inputs use, as it is compiled; empty if there is none.
    pub fn source(&self, inputs: &Inputs) -> String {
        let name = self.name(inputs).ok();
        let template = name.and_then(|name| self.environment.get_template(name).ok());
        template.map(|template| template.source().to_owned()).unwrap_or_default()
    }

    /// True if the template that these inputs use reads a variable, or if it does not compile and nobody can tell.
    pub fn reads(&self, variable: &str, inputs: &Inputs) -> bool {
        let template = self.name(inputs).ok().and_then(|name| self.environment.get_template(name).ok());
        template.is_none_or(|template| template.undeclared_variables(false).contains(variable))
    }

    /// Checks that the default template compiles.
    ///
    /// # Errors
    /// [`Error::Template`] with the line that is not Jinja.
    pub fn check(&self) -> Result<()> {
        self.name(&Inputs::default()).map(|_| ())
    }

    /// Writes a conversation as the model expects it. With `add_generation_prompt` it ends where the assistant's next
    /// turn begins.
    ///
    /// # Errors
    /// [`Error::Template`] if the template refuses the messages, fails or does too much work.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.render_with(messages, &Inputs { add_generation_prompt, ..Inputs::default() })
    }

    /// Writes a conversation with tools, documents and variables.
    ///
    /// # Errors
    /// As [`render`](Self::render), if there is no template of the name that is asked for, and for a variable that has one of
    /// the names of the other inputs.
    pub fn render_with(&self, messages: &[Message], inputs: &Inputs) -> Result<String> {
        if inputs.add_generation_prompt && inputs.continue_final_message {
            let reason = "add_generation_prompt and continue_final_message exclude each other";
            return Err(Error::template(reason));
        }
        const OTHERS: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];
        if let Some(name) = OTHERS.iter().find(|name| inputs.variables.contains_key(**name)) {
            return Err(Error::template(format!("{name} is an input of its own: leave it out of the variables")));
        }
        let name = self.name(inputs)?;
        let mut messages = message::prepared(messages);
        let continued = match inputs.continue_final_message {
            true => Some(message::mark_end(&mut messages)?),
            false => None,
        };
        let mut variables = Map::new();
        for (name, text) in &self.tokens {
            variables.insert(name.clone(), text.clone().into());
        }
        variables.extend(inputs.variables.clone());
        variables.insert("messages".into(), messages.into_iter().map(serde_json::Value::Object).collect());
        variables.insert("tools".into(), inputs.tools.clone().into());
        variables.insert("documents".into(), inputs.documents.clone().into());
        variables.insert("add_generation_prompt".into(), inputs.add_generation_prompt.into());
        let variables = serde_json::Value::Object(variables);
        let mut environment = self.environment.clone();
        let fuel = message::size(&variables).saturating_mul(FUEL_PER_BYTE).saturating_add(FUEL);
        environment.set_fuel(Some(fuel));
        if let Some(now) = self.now {
            environment.add_function("strftime_now", move |format: Option<String>, named: Kwargs| {
                let format = format.map_or_else(|| named.get("format"), Ok)?;
                named.assert_all_used().map(|()| now.strftime(&format))
            });
        }
        let rendered = guarded(|| environment.get_template(name)?.render(Serde(&variables)))?;
        match continued {
            Some(text) => message::cut_at_end(rendered, &text),
            None => Ok(rendered),
        }
    }

    /// The name of the template to use.
    fn name(&self, inputs: &Inputs) -> Result<&str> {
        let find = |name: &str| self.named.iter().find(|(other, _)| other == name);
        let all = || self.names().collect::<Vec<_>>().join(", ");
        let found = match &inputs.template {
            Some(name) => {
                find(name).ok_or_else(|| Error::template(format!("there is no {name}, there are: {}", all())))
            }
            None => inputs.tools.as_ref().and_then(|_| find(TOOL_USE)).or_else(|| find(DEFAULT)).ok_or_else(|| {
                Error::template(format!("none of the model's is the default; name one of: {}", all())) //
            }),
        };
        let (name, compiled) = found?;
        compiled.clone().map(|()| name.as_str())
    }
}

/// Returns the minijinja environment of all templates.
fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(describe)?);
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    // A prompt is plain text, whatever the template is called.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(write);
    filters::add_to(&mut environment);
    Ok(environment)
}

/// Writes a value as Python does; minijinja differs for floats.
fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), JinjaError> {
    if value.kind() == ValueKind::Number && !value.is_integer() {
        return out.write_str(&python::string(value)).map_err(JinjaError::from);
    }
    minijinja::escape_formatter(out, state, value)
}

/// Runs the library on a stranger's template. It panics on some templates; those that are known are refused before, and
/// this keeps the others from taking the process along, where panics unwind.
fn guarded<T>(run: impl FnOnce() -> Result<T, JinjaError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(describe),
        Err(_) => Err(Error::template("it contradicts itself")),
    }
}

fn describe(error: JinjaError) -> Error {
    Error::template(error)
}
