//! Sampling: the choice of the next token from logits.
//!
//! A [`Sampler`] gives the op `sample` its settings, and the device chooses. A [`Chain`] chooses on the host, by all
//! [`Samplers`]; with the settings of the op alone it chooses the same tokens.

mod candidates;
mod chain;
mod draws;
mod edits;
mod filter;
mod likelihood;
mod mirostat;
mod names;
mod past;
mod repeats;
mod settings;

pub use chain::Chain;
pub use draws::Draws;
pub use likelihood::{Likelihood, likeliest, likelihood};
pub use past::{Choice, Past};
pub use settings::{Dry, Filter, Mirostat, Samplers};

pub(crate) use settings::in_range;

use crate::error::{Error, Result};
use crate::settable::settable;
use foveate_kernels::sample::{Draw, Spec};

settable! {
    /// The settings of a generation; the default takes the likeliest token.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Sampling {
        /// 0 takes the likeliest token.
        pub temperature: f32,
        /// 0: no limit.
        pub top_k: u32,
        /// Keeps the likeliest tokens whose probabilities add up to this; 1 keeps all.
        pub top_p: f32,
        /// Keeps tokens with at least this part of the largest probability; 0 keeps all.
        pub min_p: f32,
        /// Divides the logits of tokens that were seen; 1 leaves them.
        pub repetition_penalty: f32,
        /// The same seed gives the same text.
        pub seed: u64,
    }
}

impl Sampling {
    /// Checks that each number is in its range.
    ///
    /// # Errors
    /// `OutOfRange` for a number out of its range, also for one that temperature 0 leaves unused: it is a slip either way.
    pub fn validate(&self) -> Result<()> {
        in_range("temperature", self.temperature, 0.0, f32::MAX)?;
        in_range("top-p", self.top_p, 0.0, 1.0)?;
        in_range("min-p", self.min_p, 0.0, 1.0)?;
        match self.repetition_penalty {
            penalty if penalty > 0.0 && penalty.is_finite() => Ok(()),
            penalty => Err(Error::out_of_range("repetition-penalty", "a finite number above 0", penalty)),
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// A stream of choices. The draw of a choice depends on the seed and on how many choices were before it.
#[derive(Clone, Debug)]
pub struct Sampler {
    settings: Sampling,
    draws: Draws,
    /// Choices so far.
    position: u64,
}

impl Sampler {
    /// # Errors
    /// As [`Sampling::validate`].
    pub fn new(settings: Sampling) -> Result<Self> {
        settings.validate()?;
        Ok(Self::at(settings, Draws::new(settings.seed), 0))
    }

    fn at(settings: Sampling, draws: Draws, position: u64) -> Self {
        Self { settings, draws, position }
    }

    /// Takes its draws from `draws` in the place of those of its seed.
    pub fn with_draws(self, draws: Draws) -> Self {
        Self { draws, ..self }
    }

    /// Choices so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes on as if so many choices had been made.
    pub fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Sampling {
        &self.settings
    }

    /// True if the repetition penalty is not 1, so that tokens that were seen must be tracked.
    pub(crate) fn penalises(&self) -> bool {
        self.settings.repetition_penalty != 1.0
    }

    /// The spec of the next choice.
    pub fn next(&mut self, vocab: u32) -> Spec {
        let s = self.settings;
        let draw = (s.temperature > 0.0).then(|| {
            Draw::new(s.temperature, self.draws.choice(self.position))
                .with_top_k(s.top_k)
                .with_top_p(s.top_p)
                .with_min_p(s.min_p)
        });
        self.position += 1;
        Spec::new(vocab).with_draw(draw).with_penalty(s.repetition_penalty)
    }
}
