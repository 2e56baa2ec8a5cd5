//! How the model of a conversation writes reasoning and calls, and what follows from it for a generation.

use super::options::Generation;
use crate::backend::Backend;
use crate::chat::Inputs;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::parts::{Format, Reasoning, Splitter, ToolChoice, Tools};
use serde_json::json;

/// Tokens at the end of a prompt that are looked at for a mark.
const TAIL: usize = 16;

/// The questions that [`Marks`] asks of a model's template and tokenizer. Callers that have these elsewhere implement it.
pub trait Lexicon {
    /// Returns the text of the template that these inputs use.
    ///
    /// # Errors
    /// `Template` if the model has none.
    fn template(&self, inputs: &Inputs) -> Result<String>;

    /// Returns the id of a token by the vocabulary's spelling.
    fn id(&self, token: &str) -> Option<u32>;

    /// Returns whether an id is a control token.
    fn is_control(&self, id: u32) -> bool;

    /// Returns the ids of a text, without special tokens around it.
    ///
    /// # Errors
    /// `Tokenizer` as [`Tokenizer::encode`](crate::tokenizer::Tokenizer::encode), or if the model has none.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// Returns the text of ids, control tokens by their names.
    ///
    /// # Errors
    /// `Tokenizer` as [`Tokenizer::decode`](crate::tokenizer::Tokenizer::decode), or if the model has none.
    fn decode(&self, ids: &[u32]) -> Result<String>;
}

impl<B: Backend> Lexicon for Model<B> {
    fn template(&self, inputs: &Inputs) -> Result<String> {
        Ok(Model::template(self)?.source(inputs))
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer().ok()?.id(token)
    }

    fn is_control(&self, id: u32) -> bool {
        self.tokenizer().is_ok_and(|tokenizer| tokenizer.is_control(id))
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer()?.encode(text, false)
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer()?.decode(ids, false)
    }
}

/// The marks of a model around reasoning and calls of tools, by its template and its vocabulary.
pub struct Marks {
    format: Option<Format>,
    reasoning: Option<Reasoning>,
}

impl Marks {
    /// The inputs of a template under a choice of tools.
    pub fn inputs(inputs: &Inputs, choice: &ToolChoice) -> Inputs {
        let mut inputs = inputs.clone();
        let choice = match choice {
            ToolChoice::Auto | ToolChoice::Strict => return inputs,
            ToolChoice::None => {
                inputs.tools = None;
                json!("none")
            }
            ToolChoice::Required => json!("required"),
            ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
        };
        inputs.variables.entry("tool_choice").or_insert(choice);
        inputs
    }

    /// Finds the marks of a model.
    ///
    /// # Errors
    /// `Template` if the model has none.
    pub fn find(model: &impl Lexicon, inputs: &Inputs) -> Result<Self> {
        let source = model.template(inputs)?;
        let has = |token: &str| model.id(token).is_some();
        let format = Format::find(&source, has);
        // Channels are there without tools, too.
        let format = format.filter(|format| inputs.tools.is_some() || *format == Format::Harmony);
        Ok(Self { format, reasoning: Reasoning::find(&source, has) })
    }

    /// Returns whether the model's format of calls of tools is known.
    pub fn has_calls(&self) -> bool {
        self.format.is_some()
    }

    /// Returns the splitter of an answer to a prompt; `None` if the model writes text only.
    ///
    /// # Errors
    /// `Tokenizer` as [`Lexicon::decode`].
    pub fn splitter(&self, model: &impl Lexicon, inputs: &Inputs, prompt: &[u32]) -> Result<Option<Splitter>> {
        if self.format.is_none() && self.reasoning.is_none() {
            return Ok(None);
        }
        let tools = Tools::new(inputs.tools.clone().unwrap_or_default());
        let mut splitter = Splitter::new(self.format, self.reasoning, tools);
        let tail = &prompt[prompt.len().saturating_sub(TAIL)..];
        splitter.begin_behind(&model.decode(tail)?);
        Ok(Some(splitter))
    }

    /// The options of a generation with what the marks ask for: their spelling, and a constraint that begins where the
    /// answer does.
    ///
    /// # Errors
    /// `Constraint` for a choice of tools that can't be met, or stands beside another constraint.
    pub fn options(
        &self,
        model: &impl Lexicon,
        options: &Generation,
        inputs: &Inputs,
        choice: &ToolChoice,
        splitter: Option<&Splitter>,
    ) -> Result<Generation> {
        let mut options = options.clone();
        let control = |name: &str| model.id(name).filter(|id| model.is_control(*id));
        let calls = match (self.format, choice) {
            (_, ToolChoice::Auto | ToolChoice::None) => None,
            (Some(format), choice) => {
                format.constraint(&Tools::new(inputs.tools.clone().unwrap_or_default()), choice, control)?
            }
            (None, choice) => {
                let reason = format!("the choice {choice:?} needs tools, and a template that says how they are called");
                return Err(Error::constraint("tools", reason));
            }
        };
        options.constraint = match (options.constraint, calls) {
            (Some(constraint), Some(_)) => {
                let reason = format!("the choice of tools and --{} exclude each other", constraint.kind());
                return Err(Error::constraint("tools", reason));
            }
            (Some(constraint), None) => Some(match self.format.and_then(Format::answer) {
                Some(mark) if constraint.begins().is_none() => constraint.after(mark),
                _ => constraint,
            }),
            (None, calls) => calls,
        };
        let Some(splitter) = splitter else { return Ok(options) };
        if let Some(reasoning) = self.reasoning.filter(|_| splitter.is_reasoning()) {
            options.constraint = options.constraint.map(|constraint| match constraint.begins() {
                None => constraint.after(reasoning.end),
                Some(_) => constraint,
            });
        }
        for mark in splitter.marks() {
            let ids = model.encode(mark)?;
            options.shown.extend(ids.into_iter().filter(|id| model.is_control(*id)));
        }
        Ok(options)
    }
}
