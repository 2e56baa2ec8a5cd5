//! The prompt of a generation, as tokens.

use crate::backend::Backend;
use crate::chat::{Inputs, Message};
use crate::error::{Error, Result};
use crate::model::Model;

/// A text to continue, a conversation to answer, or tokens.
///
/// Texts become it by `"..".into()`, slices and vectors of [`Message`] or of ids likewise.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Prompt {
    /// A text, which the model's own special tokens are put around.
    Text(String),
    /// A conversation, in the form of the model's template.
    Messages(Vec<Message>),
    /// Tokens as they are.
    Ids(Vec<u32>),
}

impl Prompt {
    /// The tokens of the prompt.
    ///
    /// # Errors
    /// `Tokenizer` or `Template` if the model has none, or it refuses the prompt; `EmptyPrompt` for no tokens.
    pub fn ids<B: Backend>(&self, model: &Model<B>) -> Result<Vec<u32>> {
        let ids = match self {
            Prompt::Text(text) => model.tokenizer()?.encode(text, true)?,
            Prompt::Messages(messages) => answer_ids(model, messages, &Inputs::prompt())?,
            Prompt::Ids(ids) => ids.clone(),
        };
        if ids.is_empty() { Err(Error::EmptyPrompt) } else { Ok(ids) }
    }
}

/// The tokens of a conversation, up to where the assistant's next turn begins.
pub(super) fn answer_ids<B: Backend>(model: &Model<B>, messages: &[Message], inputs: &Inputs) -> Result<Vec<u32>> {
    let text = model.template()?.render_with(messages, inputs)?;
    model.tokenizer()?.encode(&text, false)
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Prompt::Text(text.into())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Prompt::Text(text)
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Self {
        Prompt::Text(text.clone())
    }
}

impl From<Message> for Prompt {
    fn from(message: Message) -> Self {
        Prompt::Messages(vec![message])
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Prompt::Messages(messages)
    }
}

impl From<&[Message]> for Prompt {
    fn from(messages: &[Message]) -> Self {
        Prompt::Messages(messages.into())
    }
}

impl From<Vec<u32>> for Prompt {
    fn from(ids: Vec<u32>) -> Self {
        Prompt::Ids(ids)
    }
}

impl From<&[u32]> for Prompt {
    fn from(ids: &[u32]) -> Self {
        Prompt::Ids(ids.into())
    }
}
