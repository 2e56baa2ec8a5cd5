//! Settings of the samplers that run on the host.

use crate::error::{Error, Result};
use crate::settable::settable;

/// A filter of the chain: it removes tokens, or with a temperature reshapes what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Filter {
    /// Divides logits by the temperature, a dynamic one included.
    Temperature,
    /// See [`Samplers::top_n_sigma`].
    TopNSigma,
    /// See [`Samplers::top_h`].
    TopH,
    /// See [`Sampling::top_k`](crate::sample::Sampling::top_k).
    TopK,
    /// See [`Sampling::top_p`](crate::sample::Sampling::top_p).
    TopP,
    /// See [`Sampling::min_p`](crate::sample::Sampling::min_p).
    MinP,
    /// See [`Samplers::typical`].
    Typical,
    /// See [`Samplers::tail_free`].
    TailFree,
    /// See [`Samplers::epsilon`].
    Epsilon,
    /// See [`Samplers::eta`].
    Eta,
    /// See [`Samplers::xtc_probability`].
    Xtc,
}

impl Filter {
    /// The default order: that of the op `sample` and of transformers, so that adding a sampler leaves the others as they
    /// were.
    pub const ORDER: [Filter; 11] = [
        Filter::Temperature,
        Filter::TopNSigma,
        Filter::TopH,
        Filter::TopK,
        Filter::TopP,
        Filter::MinP,
        Filter::Typical,
        Filter::TailFree,
        Filter::Epsilon,
        Filter::Eta,
        Filter::Xtc,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Filter::Temperature => "temperature",
            Filter::TopNSigma => "top-n-sigma",
            Filter::TopH => "top-h",
            Filter::TopK => "top-k",
            Filter::TopP => "top-p",
            Filter::MinP => "min-p",
            Filter::Typical => "typical",
            Filter::TailFree => "tail-free",
            Filter::Epsilon => "epsilon",
            Filter::Eta => "eta",
            Filter::Xtc => "xtc",
        }
    }
}

settable! {
    /// Mirostat: truncation that keeps the surprise of the text at a target (2007.14966). It replaces all filters but the
    /// temperature.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Mirostat {
        /// 1 estimates the exponent of Zipf's law, 2 truncates by surprise.
        pub version: u32,
        /// The target, in bits.
        pub tau: f32,
        /// The learning rate.
        pub eta: f32,
        /// Measures surprise under the truncated distribution, as llama.cpp does, instead of the whole one, as the paper does.
        pub truncated: bool,
    }
}

impl Default for Mirostat {
    fn default() -> Self {
        Self { version: 2, tau: 5.0, eta: 0.1, truncated: false }
    }
}

settable! {
    /// DRY: a penalty on tokens that would continue a repetition, growing with its length.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Dry {
        /// 0 turns it off.
        pub multiplier: f32,
        /// The factor of the penalty for each further token of the repetition.
        pub base: f32,
        /// Repetitions shorter than this are free.
        pub allowed_length: u32,
        /// The last tokens that are searched; `None` searches all.
        pub window: Option<u32>,
        /// Texts that no repetition goes across.
        pub breakers: Vec<String>,
    }
}

impl Default for Dry {
    fn default() -> Self {
        let breakers = ["\n", ":", "\"", "*"].map(String::from).to_vec();
        Self { multiplier: 0.0, base: 1.75, allowed_length: 2, window: None, breakers }
    }
}

settable! {
    /// Samplers beyond those of the op `sample`. The default has all of them off.
    ///
    /// If any is on, the logits come back from the device in every step.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Samplers {
        /// The filters in the order in which they run. A filter that is not listed does not run.
        pub order: Vec<Filter>,
        /// The temperature goes from this much below to this much above with the entropy; 0 leaves it fixed.
        pub dynamic_range: f32,
        /// The exponent of the normalised entropy, by which the temperature moves within that range.
        pub dynamic_exponent: f32,
        /// Keeps tokens within this many standard deviations of the largest logit; 0 turns it off.
        pub top_n_sigma: f32,
        /// Keeps the likeliest tokens up to this share of the entropy of the first 100; 0 turns it off.
        pub top_h: f32,
        /// Keeps tokens whose surprise is nearest to the entropy, up to this probability; 1 turns it off.
        pub typical: f32,
        /// Removes the tail where the curvature of the sorted probabilities has summed up to this; 1 turns it off.
        pub tail_free: f32,
        /// Removes tokens below this probability; 0 turns it off.
        pub epsilon: f32,
        /// Removes tokens below a probability that falls with the entropy; 0 turns it off.
        pub eta: f32,
        /// The chance with which XTC runs; 0 turns it off.
        pub xtc_probability: f32,
        /// XTC removes all tokens of at least this probability but the least likely of them.
        pub xtc_threshold: f32,
        /// Subtracted from the logit of a token for each time that it was generated.
        pub frequency_penalty: f32,
        /// Subtracted from the logit of a token that was generated.
        pub presence_penalty: f32,
        /// The last tokens of prompt and answer that all penalties look at. `None`: the repetition penalty looks at all of them,
        /// the others at the answer alone.
        pub penalty_window: Option<u32>,
        /// A penalty on repetitions.
        pub dry: Dry,
        /// No n-gram of this length appears twice; 0 turns it off.
        pub no_repeat_ngram: u32,
        /// Mirostat in place of the filters.
        pub mirostat: Option<Mirostat>,
        /// Added to the logits of tokens. Minus infinity excludes one.
        pub logit_bias: Vec<(u32, f32)>,
        /// Texts that the answer never holds, wherever tokens end.
        pub banned: Vec<String>,
        /// The answer does not end before it has so many tokens.
        pub min_tokens: u64,
    }
}

impl Default for Samplers {
    fn default() -> Self {
        Self {
            order: Filter::ORDER.to_vec(),
            dynamic_range: 0.0,
            dynamic_exponent: 1.0,
            top_n_sigma: 0.0,
            top_h: 0.0,
            typical: 1.0,
            tail_free: 1.0,
            epsilon: 0.0,
            eta: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: None,
            dry: Dry::default(),
            no_repeat_ngram: 0,
            mirostat: None,
            logit_bias: Vec::new(),
            banned: Vec::new(),
            min_tokens: 0,
        }
    }
}

impl Samplers {
    /// Returns whether the op `sample` chooses the same tokens by itself, once `min_tokens` are there.
    pub(super) fn off(&self) -> bool {
        let unused = Self { min_tokens: 0, ..Self::default() };
        *self == Self { min_tokens: self.min_tokens, ..unused }
    }

    /// Returns whether tokens are excluded by their id, their text or what was there before.
    pub(crate) fn excludes(&self) -> bool {
        let excluded = self.logit_bias.iter().any(|(_, bias)| *bias == f32::NEG_INFINITY);
        excluded || !self.banned.is_empty() || self.no_repeat_ngram > 0
    }

    /// # Errors
    /// `OutOfRange` for a number out of its range, and for an empty text.
    pub fn validate(&self) -> Result<()> {
        for (name, value, high) in [
            ("dynamic-temperature", self.dynamic_range, f32::MAX),
            ("dynamic-temperature", self.dynamic_exponent, f32::MAX),
            ("top-n-sigma", self.top_n_sigma, f32::MAX),
            ("top-h", self.top_h, 1.0),
            ("typical", self.typical, 1.0),
            ("tail-free", self.tail_free, 1.0),
            ("epsilon", self.epsilon, 1.0),
            ("eta", self.eta, 1.0),
            ("xtc-probability", self.xtc_probability, 1.0),
            ("xtc-threshold", self.xtc_threshold, 1.0),
            ("dry-multiplier", self.dry.multiplier, f32::MAX),
        ] {
            in_range(name, value, 0.0, high)?;
        }
        in_range("dry-base", self.dry.base, 1.0, f32::MAX)?;
        in_range("frequency-penalty", self.frequency_penalty, f32::MIN, f32::MAX)?;
        in_range("presence-penalty", self.presence_penalty, f32::MIN, f32::MAX)?;
        if let Some(Mirostat { version, tau, eta, .. }) = self.mirostat {
            if !(1..=2).contains(&version) {
                return Err(Error::out_of_range("mirostat", "1 or 2", version));
            }
            in_range("mirostat-tau", tau, 0.0, 64.0)?;
            in_range("mirostat-eta", eta, 0.0, 64.0)?;
        }
        if let Some((id, bias)) = self.logit_bias.iter().find(|(_, bias)| bias.is_nan() || *bias == f32::INFINITY) {
            let expected = "ID=X with a finite number X, or -inf, which excludes the token";
            return Err(Error::out_of_range("logit-bias", expected, format!("{id}={bias}")));
        }
        for (name, texts) in [("ban", &self.banned), ("dry-breaker", &self.dry.breakers)] {
            if texts.iter().any(String::is_empty) {
                return Err(Error::empty(name));
            }
        }
        Ok(())
    }

    /// # Errors
    /// `OutOfRange` for a bias of a token that a vocabulary of `vocab` tokens does not have.
    pub fn validate_ids(&self, vocab: u32) -> Result<()> {
        match self.logit_bias.iter().find(|(id, _)| *id >= vocab) {
            Some((id, bias)) => {
                let expected = format!("ID=X with an ID below {vocab}, the size of the vocabulary");
                Err(Error::out_of_range("logit-bias", expected, format!("{id}={bias}")))
            }
            None => Ok(()),
        }
    }
}

/// # Errors
/// `OutOfRange` for a number that is not within `low` and `high`, of which `f32::MIN` and `f32::MAX` are no limits.
pub(crate) fn in_range(setting: &'static str, value: f32, low: f32, high: f32) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let expected = match (low, high) {
        (f32::MIN, f32::MAX) => "a finite number".into(),
        (low, f32::MAX) => format!("a finite number, {low} or more"),
        (low, high) => format!("{low} to {high}"),
    };
    Err(Error::out_of_range(setting, expected, value))
}
