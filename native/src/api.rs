//! Models by name, and texts and conversations from them.

use crate::device::{Device, Options, device_with};
use crate::error::Result;
use crate::vectors::{Embedder, Reranker, recipe};
use crate::{adapter, open, wait};
use foveate_core::Any;
use foveate_core::embedding::{self, Options as EmbedOptions, Recipe};
use foveate_core::generate::{self, Generation, Prompt};
use foveate_core::kernels::dtype::DType;
use foveate_core::model::{self, Files};
use foveate_core::rerank;
use foveate_core::session;
use std::ffi::OsStr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Tokens of a conversation where none are asked for: its cache is allocated at once.
const CHAT_CONTEXT: u32 = 4096;

/// A sequence of tokens through a model; see [`session::Session`].
pub type Session = session::Session<Any>;

/// A conversation; see [`generate::Chat`].
pub type Chat = generate::Chat<Any>;

/// A generation: a blocking iterator over its pieces, or [`step`](generate::Generator::step) by step on an async runtime.
pub type Generator = generate::Generator<Any>;

/// A model in a device's memory. Cloning it is cheap and shares the memory; any number of threads use it at once, each with
/// a session of its own.
///
/// It dereferences to [`model::Model`], which has its configuration, its tokenizer and its template.
///
/// ```no_run
/// use foveate::{Generation, Model};
///
/// let model = Model::open("smollm2-135m")?;
/// for piece in model.generate("The capital of France is", &Generation::default())? {
///     print!("{}", piece?);
/// }
/// # Ok::<(), foveate::Error>(())
/// ```
#[derive(Clone)]
pub struct Model {
    inner: Arc<model::Model<Any>>,
    /// Tokens of a session at most, where a builder said so.
    context: Option<u32>,
    kv: DType,
    /// How hidden states become a vector, once it was asked for, and what that is read from.
    recipe: Arc<OnceLock<Arc<Recipe>>>,
    source: Option<Arc<OsStr>>,
}

impl Model {
    /// Opens a model by path or name, on a real GPU if there is one and else on the processor. Blocks while it is
    /// downloaded, if it has to be, and loaded.
    ///
    /// # Errors
    /// As [`open`](crate::open()) and [`model::Model::load`].
    pub fn open(model: impl AsRef<OsStr>) -> Result<Self> {
        Self::builder().open(model)
    }

    /// Chooses device and memory first.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins a generation behind a prompt: a text to continue, messages to answer, or tokens. It runs as its pieces are
    /// asked for.
    ///
    /// # Errors
    /// As [`generate::Generator::start`].
    pub fn generate(&self, prompt: impl Into<Prompt>, options: &Generation) -> Result<Generator> {
        let context = self.context.unwrap_or(self.config().context);
        Ok(Generator::start(self.inner.clone(), prompt, context, self.kv, options)?)
    }

    /// Begins a conversation, of 4096 tokens at most or what the [builder](Builder::context) was given.
    ///
    /// # Errors
    /// `Template` if the model has no chat template; `OutOfMemory`.
    pub fn chat(&self) -> Result<Chat> {
        let context = self.context.unwrap_or(self.config().context.min(CHAT_CONTEXT));
        Ok(Chat::new(self.session(context)?)?)
    }

    /// Makes an empty session of at most `context` tokens.
    ///
    /// # Errors
    /// As [`session::Session::with_format`].
    pub fn session(&self, context: u32) -> Result<Session> {
        Ok(Session::with_format(self.inner.clone(), context, self.kv)?)
    }

    /// Returns the vector of a text, as sentence-transformers computes it: with the pooling, the further modules and the
    /// prompts that the model's folder describes, with the pooling that a GGUF file names, or as the mean of all tokens.
    /// It has the length 1 only if a module of the folder divides by the length or [`EmbedOptions::normalize`] asks for it.
    ///
    /// ```no_run
    /// use foveate::embedding::{Options, Prompt, Similarity};
    ///
    /// let model = foveate::Model::open("sentence-transformers/all-MiniLM-L6-v2")?;
    /// let [a, b] = ["A cat sits on a mat.", "There is a cat on the mat."].map(|text| model.embed(text, &Options::new()));
    /// println!("{:.3}", Similarity::Cosine.of(&a?, &b?));
    /// # Ok::<(), foveate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`embedder`](Self::embedder) and [`embedding::Embedder::embed`].
    pub fn embed(&self, text: &str, options: &EmbedOptions) -> Result<Vec<f32>> {
        Ok(wait(self.embedder()?.embed(text, options))?)
    }

    /// Makes what turns many texts into vectors, one after the other, in the same memory.
    ///
    /// # Errors
    /// As [`recipe`](crate::recipe()) and [`embedding::Embedder::new`].
    pub fn embedder(&self) -> Result<Embedder> {
        let recipe = match (self.recipe.get(), &self.source) {
            (Some(recipe), _) => recipe.clone(),
            (None, Some(source)) => {
                let read = Arc::new(Recipe::of(recipe(source)?, &self.inner));
                self.recipe.get_or_init(|| read).clone()
            }
            (None, None) => Arc::new(Recipe::of(None, &self.inner)),
        };
        Ok(embedding::Embedder::new(self.inner.clone(), recipe)?)
    }

    /// Returns how well a document answers a query, by the head of a cross-encoder or by Qwen3-Reranker's answers.
    ///
    /// ```no_run
    /// use foveate::rerank::Options;
    ///
    /// let model = foveate::Model::open("BAAI/bge-reranker-v2-m3")?;
    /// let found = model.rerank("what is a panda?", "The giant panda is a bear of China.", &Options::new())?;
    /// println!("{:.3}", found.score);
    /// # Ok::<(), foveate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`reranker`](Self::reranker) and [`rerank::Reranker::judge`].
    pub fn rerank(&self, query: &str, document: &str, options: &rerank::Options) -> Result<rerank::Relevance> {
        Ok(wait(self.reranker()?.judge(query, document, options))?)
    }

    /// Makes what judges many documents, one after the other, in the same memory.
    ///
    /// # Errors
    /// As [`rerank::Reranker::new`].
    pub fn reranker(&self) -> Result<Reranker> {
        Ok(rerank::Reranker::new(self.inner.clone())?)
    }

    /// Sets how hidden states become a vector.
    pub fn with_recipe(self, recipe: Recipe) -> Self {
        Self { recipe: Arc::new(OnceLock::from(Arc::new(recipe))), ..self }
    }

    /// The model as sessions hold it.
    pub fn shared(&self) -> &Arc<model::Model<Any>> {
        &self.inner
    }
}

impl Deref for Model {
    type Target = model::Model<Any>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl From<model::Model<Any>> for Model {
    fn from(model: model::Model<Any>) -> Self {
        Self { inner: Arc::new(model), context: None, kv: DType::F32, recipe: Arc::default(), source: None }
    }
}

/// The device, thread count and context length of a [`Model`].
///
/// ```no_run
/// use foveate::{Device, Model};
///
/// let model = Model::builder().device(Device::Cpu).threads(4).context(2048).open("path/to/model.gguf")?;
/// # Ok::<(), foveate::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Builder {
    device: Device,
    options: Options,
    context: Option<u32>,
    kv: Option<DType>,
    adapters: Vec<(PathBuf, f32)>,
}

impl Builder {
    /// Sets what computes; by default a real GPU if there is one, else the processor.
    pub fn device(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Sets the threads of the processor's executor; 0 takes one for each core.
    pub fn threads(self, threads: usize) -> Self {
        Self { options: self.options.threads(threads), ..self }
    }

    /// Sets all options of the device.
    pub fn options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Sets how many tokens a generation or a conversation holds at most; by default what the model was made for, and 4096
    /// of a conversation.
    pub fn context(self, context: u32) -> Self {
        Self { context: Some(context), ..self }
    }

    /// Sets how keys and values are kept: f32, f16 or Q8_0.
    pub fn kv(self, kv: DType) -> Self {
        Self { kv: Some(kv), ..self }
    }

    /// Adds `scale` times a LoRA adapter to the model's products: a folder as PEFT writes it, or a GGUF file. Several may be
    /// added.
    pub fn lora(mut self, adapter: impl Into<PathBuf>, scale: f32) -> Self {
        self.adapters.push((adapter.into(), scale));
        self
    }

    /// Opens a model by path or name; see [`Model::open`].
    ///
    /// # Errors
    /// As [`Model::open`]; `Device` if the device is not there.
    pub fn open(self, model: impl AsRef<OsStr>) -> Result<Model> {
        let files = open(&model)?;
        Ok(Model { source: Some(model.as_ref().into()), ..self.load(files)? })
    }

    /// Loads a model that was opened; see [`open`](crate::open()).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn load(self, mut files: Files) -> Result<Model> {
        for (path, scale) in &self.adapters {
            files = files.with_adapter(adapter(path)?, *scale)?;
        }
        let device = device_with(self.device, self.options)?;
        let inner = Arc::new(wait(model::Model::load(device, files, &mut |_| Ok(())))?);
        Ok(Model {
            inner,
            context: self.context,
            kv: self.kv.unwrap_or(DType::F32),
            recipe: Arc::default(),
            source: None,
        })
    }
}
