//! Vectors of texts, as sentence-transformers computes them: prompts, hidden states, pooling and what follows it.

mod dense;
pub mod output;
mod pooling;
mod recipe;

pub use dense::Dense;
pub use pooling::{Mode, Pooling};
pub use recipe::{Recipe, Similarity, Step};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::session::{Input, RollbackTarget, Session};
use std::sync::Arc;

/// The prompt in front of a text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Prompt {
    /// The recipe's default prompt, if it has one.
    #[default]
    Default,
    /// Nothing.
    None,
    /// The prompt of this name.
    Named(String),
    /// This text.
    Text(String),
}

/// The settings of a vector.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The prompt in front of the text.
    pub prompt: Prompt,
    /// Texts of too many tokens are cut; otherwise they are an error.
    pub truncate: bool,
    /// Keeps so many elements of a vector, from the first on.
    pub dim: Option<u32>,
    /// Divides the vector by its length, whether or not the recipe does.
    pub normalize: bool,
}

impl Options {
    /// The recipe's prompt and the whole vector.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is put in front of a text.
    pub fn prompt(self, prompt: Prompt) -> Self {
        Self { prompt, ..self }
    }

    /// Cuts texts of too many tokens instead of refusing them.
    pub fn truncate(self, truncate: bool) -> Self {
        Self { truncate, ..self }
    }

    /// Keeps so many elements of a vector.
    pub fn dim(self, dim: u32) -> Self {
        Self { dim: Some(dim), ..self }
    }

    /// Divides the vector by its length.
    pub fn normalize(self, normalize: bool) -> Self {
        Self { normalize, ..self }
    }
}

/// Turns texts into vectors, one after the other.
pub struct Embedder<B: Backend> {
    model: Arc<Model<B>>,
    recipe: Arc<Recipe>,
    dim: u32,
    session: Option<Session<B>>,
}

impl<B: Backend> Embedder<B> {
    /// # Errors
    /// `Config` for a recipe of another width than the model's.
    pub fn new(model: Arc<Model<B>>, recipe: Arc<Recipe>) -> Result<Self> {
        let dim = recipe.dim(model.config().dim)?;
        Ok(Self { model, recipe, dim, session: None })
    }

    /// Returns the elements of a whole vector.
    pub fn dim(&self) -> u32 {
        self.dim
    }

    /// Returns the recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the tokens of a text at most.
    pub fn max_tokens(&self) -> u32 {
        let context = self.model.config().context;
        self.recipe.max_tokens.map_or(context, |most| most.min(context))
    }

    /// Returns the vector of a text, of the length 1 if the recipe has a module that normalises or the options ask for it.
    ///
    /// # Errors
    /// `Config` for a prompt or a number of elements that there is not; `ContextFull` for a text of too many tokens, unless it
    /// is to be cut; `EmptyPrompt` for one without tokens; `NotFinite` if the vector holds NaN or infinity; `Tokenizer`; errors
    /// of the device.
    pub async fn embed(&mut self, text: &str, options: &Options) -> Result<Vec<f32>> {
        let prompt = self.prompt(&options.prompt)?.to_owned();
        let tokens = self.tokens(&prompt, text, options.truncate)?;
        let counted = if self.recipe.pooling.include_prompt { 0 } else { self.prompt_tokens(&prompt)? };
        self.embed_tokens(&tokens, counted, options).await
    }

    /// Returns the vector of tokens, of which the first `prompt` are a prompt's.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn embed_tokens(&mut self, tokens: &[u32], prompt: usize, options: &Options) -> Result<Vec<f32>> {
        let keep = options.dim.unwrap_or(self.dim);
        if !(1..=self.dim).contains(&keep) {
            return Err(Error::Config {
                reason: format!("a vector of {keep} elements, where the model gives {}", self.dim),
            });
        }
        let mut rows = Vec::new();
        let mut session = self.room(tokens.len())?;
        session.hidden(Input::Tokens(tokens), |given| rows.extend_from_slice(given)).await?;
        session.rollback(RollbackTarget::Len(0))?;
        self.session = Some(session);
        let mut vector = self.recipe.finish(&rows, self.model.config().dim as usize, prompt);
        vector.truncate(keep as usize);
        if options.normalize {
            recipe::normalize(&mut vector);
        }
        match vector.iter().all(|x| x.is_finite()) {
            true => Ok(vector),
            false => Err(Error::NotFinite { position: tokens.len() as u64 }),
        }
    }

    /// An empty session with room for `tokens`: the last one, or a larger one.
    fn room(&mut self, tokens: usize) -> Result<Session<B>> {
        let most = self.max_tokens();
        if tokens > most as usize {
            return Err(Error::ContextFull { tokens: tokens as u64, context: most.into() });
        }
        match self.session.take().filter(|session| session.context() as usize >= tokens) {
            Some(session) => Ok(session),
            None => Session::new(self.model.clone(), (tokens as u32).max(1).next_power_of_two().max(128).min(most)),
        }
    }

    fn prompt<'a>(&'a self, prompt: &'a Prompt) -> Result<&'a str> {
        let name = match prompt {
            Prompt::None => return Ok(""),
            Prompt::Text(text) => return Ok(text),
            Prompt::Named(name) => name,
            Prompt::Default => match &self.recipe.default_prompt {
                Some(name) => name,
                None => return Ok(""),
            },
        };
        self.recipe.prompts.get(name).map(String::as_str).ok_or_else(|| {
            let names: Vec<&str> = self.recipe.prompts.keys().map(String::as_str).collect();
            let has =
                if names.is_empty() { "it has no prompts".into() } else { format!("it has {}", names.join(", ")) };
            Error::Config { reason: format!("the model has no prompt named {}: {has}", crate::error::one_line(name)) }
        })
    }

    /// The tokens of a text behind a prompt.
    fn tokens(&self, prompt: &str, text: &str, truncate: bool) -> Result<Vec<u32>> {
        let (tokenizer, most) = (self.model.tokenizer()?, self.max_tokens());
        let whole = self.cased(&format!("{prompt}{text}"));
        let tokens = tokenizer.encode(&whole, true)?;
        match tokens.len() <= most as usize {
            true => Ok(tokens),
            false if truncate => tokenizer.encode_cut(&whole, most),
            false => Err(Error::ContextFull { tokens: tokens.len() as u64, context: most.into() }),
        }
    }

    /// Tokens of a prompt, without a special one behind it.
    fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let tokenizer = self.model.tokenizer()?;
        let cased = self.cased(prompt);
        let (plain, whole) = (tokenizer.encode(&cased, false)?, tokenizer.encode(&cased, true)?);
        let closed = whole.last() != plain.last();
        Ok(whole.len() - usize::from(closed))
    }

    fn cased(&self, text: &str) -> String {
        if self.recipe.lower_case { text.to_lowercase() } else { text.into() }
    }
}
