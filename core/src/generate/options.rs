//! Settings of a generation.

use super::speculate::Speculation;
use crate::backend::Backend;
use crate::constrain::Constraint;
use crate::coprocessor::Cancel;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::sample::{Chain, Mirostat, Samplers, Sampling};

/// Tokens of a generation, where no maximum is given.
const MAX_TOKENS: u64 = 256;

/// When a generation ends, how its tokens are chosen and what it tells of them.
///
/// ```
/// use foveate_core::generate::Generation;
///
/// let options = Generation::new().max_tokens(64).temperature(0.7).seed(1).stop(["\n\n"]);
/// assert_eq!(options, options.clone());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generation {
    /// The most tokens of an answer.
    pub max_tokens: u64,
    /// Texts that end the generation. Nothing of them is given out.
    pub stop: Vec<String>,
    /// Go on behind tokens that end a text.
    pub ignore_eos: bool,
    /// Give out the spelling of tokens that are no text.
    pub show_special: bool,
    /// Control tokens whose spelling is given out in any case.
    pub shown: Vec<u32>,
    /// The form that the text must have.
    pub constraint: Option<Constraint>,
    /// Tokens of reasoning at most, in a [`Chat`](super::Chat): then its end follows.
    pub reasoning_budget: Option<u64>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Samplers beyond those of `sampling`, biases and bans, which run on the host.
    pub samplers: Samplers,
    /// Which of several answers to a prompt this is: each has draws of its own, and answer 0 those of the seed.
    pub sequence: u64,
    /// Draft tokens and check several in one step. Until the end of the generation, the session may hold accepted tokens that
    /// were not given out yet.
    pub speculate: Option<Speculation>,
    /// Tell of the surprise of every token.
    pub surprise: bool,
    /// Tell of probabilities, and of that many of the likeliest tokens.
    pub logprobs: Option<usize>,
    /// Ends the generation between two steps, also inside of a long prompt.
    pub cancel: Cancel,
    /// Seconds since some moment, for [`Timing`](super::Timing): by default the system's clock, and none on `wasm32`.
    pub clock: Option<fn() -> f64>,
    /// Tokens of the generation that are there already: it goes on behind them as if it had chosen them.
    pub replay: Vec<u32>,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            max_tokens: MAX_TOKENS,
            stop: Vec::new(),
            ignore_eos: false,
            show_special: false,
            shown: Vec::new(),
            constraint: None,
            reasoning_budget: None,
            sampling: Sampling::default(),
            samplers: Samplers::default(),
            sequence: 0,
            speculate: None,
            surprise: false,
            logprobs: None,
            cancel: Cancel::default(),
            clock: default_clock(),
            replay: Vec::new(),
        }
    }
}

/// Seconds since the first call.
#[cfg(not(target_arch = "wasm32"))]
fn seconds() -> f64 {
    static BEGAN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    BEGAN.elapsed().as_secs_f64()
}

#[cfg(not(target_arch = "wasm32"))]
fn default_clock() -> Option<fn() -> f64> {
    Some(seconds)
}

#[cfg(target_arch = "wasm32")]
fn default_clock() -> Option<fn() -> f64> {
    None
}

/// Equal settings; the cancel token, the clock and the way to draft tokens are none.
impl PartialEq for Generation {
    fn eq(&self, other: &Self) -> bool {
        let settings = |g: &Self| (g.max_tokens, g.ignore_eos, g.show_special, g.sampling, g.logprobs);
        let told = |g: &Self| (g.sequence, g.surprise, g.reasoning_budget);
        let equal = settings(self) == settings(other) && told(self) == told(other) && self.shown == other.shown;
        let equal = equal && self.constraint == other.constraint && self.samplers == other.samplers;
        equal && self.stop == other.stop && self.replay == other.replay
    }
}

impl Generation {
    /// The likeliest token each time, 256 tokens at most.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many tokens are generated at most.
    pub fn max_tokens(self, max_tokens: u64) -> Self {
        Self { max_tokens, ..self }
    }

    /// Sets the texts that end the generation. They may span tokens; nothing of them is given out.
    pub fn stop<S: Into<String>>(self, stop: impl IntoIterator<Item = S>) -> Self {
        Self { stop: stop.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets whether the generation goes on behind tokens that end a text.
    pub fn ignore_eos(self, ignore_eos: bool) -> Self {
        Self { ignore_eos, ..self }
    }

    /// Sets whether the spelling of tokens that are no text is given out.
    pub fn show_special(self, show_special: bool) -> Self {
        Self { show_special, ..self }
    }

    /// Sets what the text must look like. Where only one text can follow, its tokens are not asked of the model.
    ///
    /// ```
    /// use foveate_core::{constrain::Constraint, generate::Generation};
    ///
    /// let options = Generation::new().constraint(Constraint::choices(["yes", "no"])?);
    /// # Ok::<(), foveate_core::Error>(())
    /// ```
    pub fn constraint(self, constraint: impl Into<Option<Constraint>>) -> Self {
        Self { constraint: constraint.into(), ..self }
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// `OutOfRange` for a number out of its range, and for an empty text.
    pub fn validate(&self) -> Result<()> {
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::empty("stop"));
        }
        self.sampling.validate()?;
        self.samplers.validate()
    }

    /// Returns the chain of samplers for a model.
    ///
    /// # Errors
    /// As [`Chain::new`]; `OutOfRange` for a bias of a token that the model does not have.
    pub(super) fn chain<B: Backend>(&self, model: &Model<B>) -> Result<Chain> {
        self.samplers.validate_ids(model.config().vocab)?;
        Chain::new(self.sampling, self.samplers.clone(), model.end_tokens(), model.tokenizer().ok())
    }

    /// Returns whether tokens that a constraint forces are appended without a choice: not where a choice is reported, or
    /// where other options exclude tokens, which are held against those that are forced.
    pub(super) fn appends_forced(&self) -> bool {
        self.logprobs.is_none() && !self.samplers.excludes()
    }

    /// Sets after how many tokens of reasoning a [`Chat`](super::Chat) writes its end in the model's stead.
    pub fn reasoning_budget(self, tokens: u64) -> Self {
        Self { reasoning_budget: Some(tokens), ..self }
    }

    /// Sets control tokens whose spelling is given out in any case.
    pub fn shown(self, shown: Vec<u32>) -> Self {
        Self { shown, ..self }
    }

    /// Sets how tokens are chosen, all settings at once.
    pub fn sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// Sets how freely tokens are chosen; 0 takes the likeliest.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.sampling.temperature = temperature;
        self
    }

    /// Chooses among the `top_k` likeliest tokens; 0 sets no limit.
    pub fn top_k(mut self, top_k: u32) -> Self {
        self.sampling.top_k = top_k;
        self
    }

    /// Chooses among the likeliest tokens that hold this much probability together.
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.sampling.top_p = top_p;
        self
    }

    /// Leaves out tokens with less than this share of the likeliest one's probability.
    pub fn min_p(mut self, min_p: f32) -> Self {
        self.sampling.min_p = min_p;
        self
    }

    /// Divides the logits of tokens that were there before; 1 leaves them.
    pub fn repetition_penalty(mut self, repetition_penalty: f32) -> Self {
        self.sampling.repetition_penalty = repetition_penalty;
        self
    }

    /// Sets the seed: the same one gives the same text.
    pub fn seed(mut self, seed: u64) -> Self {
        self.sampling.seed = seed;
        self
    }

    /// Sets the samplers beyond those of [`sampling`](Self::sampling), all at once.
    pub fn samplers(self, samplers: Samplers) -> Self {
        Self { samplers, ..self }
    }

    /// Keeps the surprise of the text at `tau` bits a token, by Mirostat of this version (1 or 2) with learning rate `eta`.
    pub fn mirostat(mut self, version: u32, tau: f32, eta: f32) -> Self {
        self.samplers.mirostat = Some(Mirostat { version, tau, eta, ..Mirostat::default() });
        self
    }

    /// Adds a bias to the logit of a token; minus infinity excludes it.
    pub fn logit_bias(mut self, id: u32, bias: f32) -> Self {
        self.samplers.logit_bias.push((id, bias));
        self
    }

    /// Keeps the answer from ending before it has so many tokens.
    pub fn min_tokens(mut self, min_tokens: u64) -> Self {
        self.samplers.min_tokens = min_tokens;
        self
    }

    /// Sets which of several answers to a prompt this is.
    pub fn sequence(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// Drafts tokens and checks several in one step. The text stays the same; a step costs more, and gives more tokens where
    /// drafts are right. Pauses by itself where that does not pay.
    pub fn speculate(self, speculation: Speculation) -> Self {
        Self { speculate: Some(speculation), ..self }
    }

    /// Sets whether the surprise of every token is told. Logits then come back from the device in every step.
    pub fn surprise(self, surprise: bool) -> Self {
        Self { surprise, ..self }
    }

    /// Tells of each token's probability and of the `likeliest` likeliest tokens. Logits then come back from the device in
    /// every step.
    pub fn logprobs(self, likeliest: usize) -> Self {
        Self { logprobs: Some(likeliest), ..self }
    }

    /// Sets the token that ends the generation when it is cancelled.
    pub fn cancel(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// Sets the clock that [`Timing`](super::Timing) is measured by: seconds since some moment.
    pub fn clock(self, clock: fn() -> f64) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Goes on behind tokens that were generated before, as on a device that was lost since: with their draws, their half
    /// characters and the rest of the maximum. [`Decode::new`](super::Decode::new) expects a session that holds them.
    pub fn replay(self, replay: Vec<u32>) -> Self {
        Self { replay, ..self }
    }
}
