//! Conversations that a scheduler answers.

use super::marks::Marks;
use super::options::Generation;
use super::prompt::answer_ids;
use crate::backend::Backend;
use crate::chat::{Inputs, Message};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::parts::{Splitter, ToolChoice};

/// A conversation that is ready to be answered, for callers that have sessions of their own. [`Chat`](super::Chat) does the
/// same and keeps the session.
#[derive(Clone)]
pub struct Exchange {
    /// The tokens of the conversation, up to where the answer begins.
    pub prompt: Vec<u32>,
    /// The settings of the answer, with the constraint that the choice of tools asks for.
    pub options: Generation,
    /// Splits the answer into text, reasoning and calls; `None` for a model that writes text only.
    pub splitter: Option<Splitter>,
}

impl Exchange {
    /// Renders a conversation and finds out how the model writes reasoning and calls of tools.
    ///
    /// # Errors
    /// `Template` or `Tokenizer` if the model has none, and for tools if the template does not say how they are called;
    /// `Constraint` for a choice of tools that can't be met.
    pub fn new<B: Backend>(
        model: &Model<B>,
        messages: &[Message],
        inputs: &Inputs,
        choice: &ToolChoice,
        options: &Generation,
    ) -> Result<Self> {
        let inputs = Marks::inputs(inputs, choice);
        let marks = Marks::find(model, &inputs)?;
        if inputs.tools.is_some() && !marks.has_calls() {
            return Err(Error::template("the model's template does not say how tools are called: leave tools out"));
        }
        let prompt = answer_ids(model, messages, &inputs)?;
        let splitter = marks.splitter(model, &inputs, &prompt)?;
        let options = marks.options(model, options, &inputs, choice, splitter.as_ref())?;
        Ok(Self { prompt, options, splitter })
    }
}
