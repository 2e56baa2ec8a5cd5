//! Models: a configuration, the decoder that runs it, and the words around it.

mod attention;
mod block;
mod classifier;
pub(crate) mod decoder;
mod delta;
mod distances;
mod experts;
mod family;
mod hub;
mod latent;
mod load;
mod matrix;
mod mixer;
mod mlp;
mod norm;
mod per_layer;
mod predictor;
mod record;
mod recursion;
mod routing;
mod scan;
mod short_conv;
mod streams;
mod text;
mod time_mix;
mod vectors;
pub(crate) mod workspace;

pub use decoder::Decoder;
pub use family::{Family, Part, Place, Role, architectures, families};
pub use hub::Hub;
pub use load::{Progress, Report};
pub use predictor::Predictor;
pub use text::TokenizerAndTemplate;

use crate::any::Any;
use crate::backend::Backend;
use crate::chat::Template;
use crate::config::Config;
use crate::constrain::Vocabulary;
use crate::error::{Error, Result};
use crate::host::HostBackend;
use crate::sample::Sampling;
use crate::tokenizer::Tokenizer;
use crate::weights::{BoxFuture, Checkpoint};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// The files of a model, opened but not loaded.
pub struct Files {
    /// The tensors.
    pub weights: Checkpoint,
    /// The family: the plan of the model and the names of its tensors.
    pub family: Family,
    /// The tokenizer, where there is one.
    pub tokenizer: Option<Tokenizer>,
    /// The chat template, where there is one.
    pub template: Option<Template>,
}

impl Files {
    /// A GGUF file holds everything.
    pub fn from_gguf(weights: Checkpoint) -> Result<Self> {
        let missing = || Error::Config { reason: "a GGUF file has no metadata".into() };
        let metadata = weights.gguf_metadata().ok_or_else(missing)?;
        let family = Family::from_gguf(metadata)?;
        let TokenizerAndTemplate { tokenizer, template } = TokenizerAndTemplate::from_metadata(metadata)?;
        Ok(Self { family, tokenizer: Some(tokenizer), template, weights })
    }
}

impl Files {
    /// Returns the tokens that end a text, sorted: those that the model's files list, and control tokens whose names are
    /// known.
    pub fn end_tokens(&self) -> Vec<u32> {
        ends(&self.family.config, self.tokenizer.as_ref())
    }

    /// Returns how many tensors belong to parts of the model that are not run, or follow from its configuration.
    pub fn ignored(&self) -> usize {
        self.weights.names().filter(|name| self.family.ignores(name)).count()
    }
}

/// The one rule for when a text ends, natively and in browsers.
fn ends(config: &Config, tokenizer: Option<&Tokenizer>) -> Vec<u32> {
    let mut ends = tokenizer.map(Tokenizer::end_tokens).unwrap_or_default();
    ends.extend(&config.stops);
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// A model in an executor's memory.
pub struct Model<B: Backend> {
    backend: Arc<B>,
    fingerprint: Option<String>,
    decoder: Decoder<B>,
    tokenizer: Option<Tokenizer>,
    template: Option<Template>,
    ends: Vec<u32>,
    sampling: Option<Sampling>,
    vocabulary: OnceLock<Arc<Vocabulary>>,
}

impl Model<Any> {
    /// Builds a model without weights, for an executor that runs nothing: checks that each tensor is there in the shape and
    /// in a type that is read, and that none is left over.
    // A function that is not generic, so that the loader for `Any` is compiled with this crate, not with each that uses it.
    pub(crate) fn hollow(files: &Files) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let backend = Any::Host(HostBackend::outline());
            let weights = files.weights.hollow_quantized(files.family.quantized).await?;
            let (report, progress): (&mut Report<'_>, _) = (&mut |_| Ok(()), Progress { bytes: 0, of: 0 });
            let loader = load::Loader {
                backend: &backend,
                files: &weights,
                family: &files.family,
                report,
                progress,
                hollow: true,
                used: BTreeSet::new(),
                blocks: BTreeMap::new(),
                adapted: load::Adapted::default(),
                shared: None,
            };
            let decoder = loader.decoder().await?;
            Ok(Self {
                backend: Arc::new(backend),
                fingerprint: None,
                decoder,
                tokenizer: None,
                template: None,
                ends: Vec::new(),
                sampling: None,
                vocabulary: OnceLock::new(),
            })
        })
    }
}

impl<B: Backend> Model<B> {
    /// Streams the weights into `backend`, reporting bytes; an error from `report` ends the loading, and everything
    /// allocated is freed.
    pub async fn load(backend: B, files: Files, report: &mut Report<'_>) -> Result<Self> {
        Self::load_shared(Arc::new(backend), files, report).await
    }

    /// Loads a second model on the executor of this one.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_on_same_backend(&self, files: Files, report: &mut Report<'_>) -> Result<Self> {
        Self::load_shared(self.backend.clone(), files, report).await
    }

    /// As [`load`](Self::load), into an executor that others hold, too.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_shared(backend: Arc<B>, files: Files, report: &mut Report<'_>) -> Result<Self> {
        // The headers are checked first, so that a model that cannot run is refused before its weights are streamed.
        Model::hollow(&files).await?;
        let ignored = files.ignored();
        let Files { weights, family, tokenizer, template } = files;
        let weights = weights.quantized(family.quantized).await?;
        let in_memory = weights.in_memory();
        let weights = if in_memory { weights } else { weights.sampled() };
        let progress = Progress { bytes: 0, of: 0 };
        let (used, blocks, hollow) = (BTreeSet::new(), BTreeMap::new(), false);
        let loader = load::Loader {
            backend: &*backend,
            files: &weights,
            family: &family,
            report,
            progress,
            hollow,
            used,
            blocks,
            adapted: load::Adapted::default(),
            shared: None,
        };
        let decoder = loader.decoder().await?;
        // Parts that are not run are not streamed for its sake.
        let known = in_memory || ignored == 0;
        let fingerprint = if known { Some(weights.fingerprint().await?) } else { None };
        let ends = ends(decoder.config(), tokenizer.as_ref());
        let (sampling, vocabulary) = (family.sampling, OnceLock::new());
        Ok(Self { backend, fingerprint, decoder, tokenizer, template, ends, sampling, vocabulary })
    }

    /// Returns the executor.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// See [`Checkpoint::fingerprint`]; `None` for one that was streamed and has parts that are not run.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Returns the model's plan.
    pub fn config(&self) -> &Config {
        self.decoder.config()
    }

    /// Returns the layers and their weights.
    pub fn decoder(&self) -> &Decoder<B> {
        &self.decoder
    }

    /// Returns the tokens that end a text, sorted: those that the model's files list, and control tokens whose names are
    /// known.
    pub fn end_tokens(&self) -> &[u32] {
        &self.ends
    }

    /// How the model's makers draw tokens, if `generation_config.json` says so; its seed is 0.
    pub fn sampling(&self) -> Option<Sampling> {
        self.sampling
    }

    /// # Errors
    /// `Tokenizer` if the model came without one.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| Error::tokenizer(NO_TOKENIZER))
    }

    /// Returns the vocabulary as constraints read it, which takes a moment the first time.
    ///
    /// # Errors
    /// `Tokenizer` if the model came without one, or its spelling is not known.
    pub fn vocabulary(&self) -> Result<Arc<Vocabulary>> {
        if let Some(vocabulary) = self.vocabulary.get() {
            return Ok(vocabulary.clone());
        }
        let new = Arc::new(Vocabulary::new(self.tokenizer()?, self.config().vocab as usize, &self.ends)?);
        Ok(self.vocabulary.get_or_init(|| new).clone())
    }

    /// # Errors
    /// `Template` if the model came without one, or its default one does not compile.
    pub fn template(&self) -> Result<&Template> {
        let template = self.template.as_ref().ok_or_else(|| Error::template("the model has none"))?;
        template.check().map(|()| template)
    }
}

const NO_TOKENIZER: &str = "the model has none: its folder needs a tokenizer.json, which transformers writes with \
    AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";
