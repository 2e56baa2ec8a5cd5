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

/// The marks of a model, by its template and its vocabulary.
pub(super) struct Marks {
    format: Option<Format>,
    reasoning: Option<Reasoning>,
}

impl Marks {
    /// The inputs of a template under a choice of tools.
    pub(super) fn inputs(inputs: &Inputs, choice: &ToolChoice) -> Inputs {
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

    /// # Errors
    /// `Template` or `Tokenizer` if the model has none.
    pub(super) fn find<B: Backend>(model: &Model<B>, inputs: &Inputs) -> Result<Self> {
        let (source, tokenizer) = (model.template()?.source(inputs), model.tokenizer()?);
        let has = |token: &str| tokenizer.id(token).is_some();
        let format = Format::find(&source, has);
        // Channels are there without tools, too.
        let format = format.filter(|format| inputs.tools.is_some() || *format == Format::Harmony);
        Ok(Self { format, reasoning: Reasoning::find(&source, has) })
    }

    /// Returns whether it is known how the model writes calls of tools.
    pub(super) fn has_calls(&self) -> bool {
        self.format.is_some()
    }

    /// Returns the splitter of an answer to a prompt; `None` if the model writes text only.
    pub(super) fn splitter<B: Backend>(
        &self,
        model: &Model<B>,
        inputs: &Inputs,
        prompt: &[u32],
    ) -> Result<Option<Splitter>> {
        if self.format.is_none() && self.reasoning.is_none() {
            return Ok(None);
        }
        let tools = Tools::new(inputs.tools.clone().unwrap_or_default());
        let mut splitter = Splitter::new(self.format, self.reasoning, tools);
        let tail = &prompt[prompt.len().saturating_sub(TAIL)..];
        splitter.begin_behind(&model.tokenizer()?.decode(tail, false)?);
        Ok(Some(splitter))
    }

    /// The options of a generation with what the marks ask for: their spelling, and a constraint that begins where the
    /// answer does.
    ///
    /// # Errors
    /// `Constraint` for a choice of tools that can't be met, or stands beside another constraint.
    pub(super) fn options<B: Backend>(
        &self,
        model: &Model<B>,
        options: &Generation,
        inputs: &Inputs,
        choice: &ToolChoice,
        splitter: Option<&Splitter>,
    ) -> Result<Generation> {
        let (mut options, tokenizer) = (options.clone(), model.tokenizer()?);
        let control = |name: &str| tokenizer.id(name).filter(|id| tokenizer.is_control(*id));
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
            let ids = tokenizer.encode(mark, false)?;
            options.shown.extend(ids.into_iter().filter(|id| tokenizer.is_control(*id)));
        }
        Ok(options)
    }
}
