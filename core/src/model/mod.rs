//! Models: a configuration, the decoder that runs it, and the words around it.

mod attention;
pub(crate) mod decoder;
mod delta;
mod family;
mod hub;
mod load;
mod matrix;
mod norm;
mod record;
mod routing;
pub(crate) mod workspace;

pub use decoder::Decoder;
pub use family::{Family, Part, Place, PlaceFn, Role};
pub use hub::Hub;
pub use load::Progress;

use crate::backend::Backend;
use crate::chat::Template;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use crate::weights::Checkpoint;
use std::sync::Arc;

/// What a model is made of, opened but not loaded.
pub struct Files {
    pub weights: Checkpoint,
    pub family: Family,
    pub tokenizer: Option<Tokenizer>,
    pub template: Option<Template>,
}

impl Files {
    /// A GGUF file holds everything.
    pub fn from_gguf(weights: Checkpoint) -> Result<Self> {
        let missing = || Error::Config { reason: "a GGUF file has no metadata".into() };
        let metadata = weights.gguf_metadata().ok_or_else(missing)?;
        let family = Family::from_gguf(metadata)?;
        let tokenizer = Some(Tokenizer::from_gguf(metadata)?);
        // A model without a template can still complete texts.
        let template = Template::from_gguf(metadata).ok();
        Ok(Self { family, tokenizer, template, weights })
    }
}

impl Files {
    /// How many tensors belong to parts of the model that are not run.
    pub fn ignored(&self) -> usize {
        self.weights.names().filter(|name| self.family.ignores(name)).count()
    }
}

/// A model in an executor's memory.
pub struct Model<B: Backend> {
    backend: Arc<B>,
    fingerprint: Option<String>,
    decoder: Decoder<B>,
    tokenizer: Option<Tokenizer>,
    template: Option<Template>,
}

impl<B: Backend> Model<B> {
    /// Streams the weights into `backend`, reporting bytes; an error from `report` ends the loading, and everything
    /// allocated is freed.
    pub async fn load(backend: B, files: Files, report: &mut dyn FnMut(Progress) -> Result<()>) -> Result<Self> {
        Self::load_shared(Arc::new(backend), files, report).await
    }

    /// A second model on the executor of this one.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn beside(&self, files: Files, report: &mut dyn FnMut(Progress) -> Result<()>) -> Result<Self> {
        Self::load_shared(self.backend.clone(), files, report).await
    }

    /// As [`load`](Self::load), into an executor that others hold, too.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_shared(
        backend: Arc<B>,
        files: Files,
        report: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<Self> {
        let ignored = files.ignored();
        let Files { weights, family, tokenizer, template } = files;
        let in_memory = weights.in_memory();
        let weights = if in_memory { weights } else { weights.sampled() };
        let progress = Progress { bytes: 0, of: 0 };
        let loader =
            load::Loader { backend: &*backend, files: &weights, family: &family, report, progress, hollow: false };
        let decoder = loader.decoder().await?;
        // Parts that are not run are not streamed for its sake.
        let known = in_memory || ignored == 0;
        let fingerprint = if known { Some(weights.fingerprint().await?) } else { None };
        Ok(Self { backend, fingerprint, decoder, tokenizer, template })
    }

    /// A model of the right shapes without weights, for an executor that runs nothing.
    pub(crate) async fn hollow(backend: B, files: &Files) -> Result<Self> {
        let weights = files.weights.hollow();
        let (report, progress): (&mut dyn FnMut(Progress) -> Result<()>, _) =
            (&mut |_| Ok(()), Progress { bytes: 0, of: 0 });
        let family = &files.family;
        let loader = load::Loader { backend: &backend, files: &weights, family, report, progress, hollow: true };
        let decoder = loader.decoder().await?;
        Ok(Self { backend: Arc::new(backend), fingerprint: None, decoder, tokenizer: None, template: None })
    }

    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// See [`Checkpoint::fingerprint`]; `None` for one that was streamed and has parts that are not run.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    pub fn config(&self) -> &Config {
        self.decoder.config()
    }

    pub fn decoder(&self) -> &Decoder<B> {
        &self.decoder
    }

    /// # Errors
    /// `Tokenizer` if the model came without one.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| Error::tokenizer("the model has none"))
    }

    /// # Errors
    /// `Template` if the model came without one.
    pub fn template(&self) -> Result<&Template> {
        self.template.as_ref().ok_or_else(|| Error::template("the model has none"))
    }
}
