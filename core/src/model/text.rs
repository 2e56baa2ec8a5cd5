//! The tokenizer and the chat template of a model, without its weights.

use super::{Hub, NO_TOKENIZER, hub};
use crate::chat::Template;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use crate::weights::Source;
use crate::weights::gguf::{Metadata, read_header};

/// The tokenizer and the chat template of a model. They are read without the weights, and for families that are not known.
#[derive(Debug)]
pub struct TokenizerAndTemplate {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template, where there is one.
    pub template: Option<Template>,
}

impl TokenizerAndTemplate {
    /// Reads the header of a GGUF file, or of the first part of a split one, and nothing behind it.
    ///
    /// # Errors
    /// `Read` and `Format` as for a whole file, `Tokenizer` if the header describes none that is implemented.
    pub async fn from_gguf(file: &dyn Source) -> Result<Self> {
        Self::from_metadata(&read_header(file).await?.metadata)
    }

    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Self> {
        // A model without a template can still complete texts.
        Ok(Self { tokenizer: Tokenizer::from_gguf(metadata)?, template: Template::from_gguf(metadata).ok() })
    }

    /// Reads the small files of a folder; [`Hub::config`] and [`Hub::generation`] are not looked at.
    ///
    /// # Errors
    /// `Tokenizer` if there is no `tokenizer.json`, or a file is not what its name says; `Config` for a template that is no
    /// text.
    pub fn from_hub(hub: &Hub<'_>) -> Result<Self> {
        let (tokenizer, template) = hub::text(hub)?;
        let tokenizer = tokenizer.ok_or_else(|| Error::tokenizer(NO_TOKENIZER))?;
        Ok(Self { tokenizer, template })
    }
}
