//! Sampling: the choice of the next token from logits.

use crate::error::{Error, Result};
use foveate_kernels::rng::Rng;
use foveate_kernels::sample::{Draw, Spec};

/// The settings of a generation; the default takes the likeliest token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// 0: no limit.
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    /// Divides the logits of tokens that were seen; 1 leaves them.
    pub repetition_penalty: f32,
    /// The same seed gives the same text.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct Sampler {
    settings: Sampling,
    rng: Rng,
}

impl Sampler {
    /// # Errors
    /// `Kernel` for a setting out of its range.
    pub fn new(settings: Sampling) -> Result<Self> {
        if settings.temperature.is_nan() || settings.temperature < 0.0 {
            return Err(Error::Config {
                reason: format!("temperature must be 0 or more, got {}", settings.temperature),
            });
        }
        // Also what temperature 0 leaves unused: a setting out of its range is a slip either way.
        let drawn =
            Sampling { temperature: if settings.temperature > 0.0 { settings.temperature } else { 1.0 }, ..settings };
        foveate_kernels::ops::Kernel::validate(&Self { settings: drawn, rng: Rng::new(0) }.next(1))?;
        Ok(Self { settings, rng: Rng::new(settings.seed) })
    }

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
        let draw = (s.temperature > 0.0).then(|| Draw {
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            min_p: s.min_p,
            uniform: self.rng.unit(),
        });
        Spec { vocab, draw, penalty: s.repetition_penalty }
    }
}
