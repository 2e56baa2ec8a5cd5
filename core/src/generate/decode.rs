//! The generation loop, one step at a time.

use super::likelihood::{Likelihood, likeliest, likelihood};
use super::options::Generation;
use super::stop::StopStrings;
use super::weigh::chosen;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::sample::Sampler;
use crate::session::Buffered;
use crate::tokenizer::Stream;
use foveate_kernels::sample::NOT_FINITE;
use std::fmt;

/// A token that was generated.
#[derive(Clone, PartialEq, Debug)]
pub struct Token {
    pub id: u32,
    /// Its probability, if [`Generation::logprobs`] asks for it.
    pub likelihood: Option<Likelihood>,
    /// The likeliest tokens in its place and the natural logarithms of their probabilities, as many as were asked for.
    pub likeliest: Vec<(u32, f64)>,
}

/// A part of a generation: whole characters, and the token that they became certain with. [`Display`](fmt::Display) writes
/// the text.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// Empty while a character is incomplete, or may be the beginning of a stop string.
    pub text: String,
    /// None for text that was held back until the end.
    pub token: Option<Token>,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a generation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Finish {
    /// The model chose a token that ends a text.
    EndOfText { token: u32 },
    /// A stop string was complete.
    StopString(String),
    /// The maximum number of tokens was reached.
    MaxTokens,
    /// The session has no room for more.
    Context,
    /// The cancel token was set.
    Cancelled,
}

impl Finish {
    /// One word for it: `eos`, `stop-string`, `max-tokens`, `context` or `cancelled`.
    pub fn name(&self) -> &'static str {
        match self {
            Finish::EndOfText { .. } => "eos",
            Finish::StopString(_) => "stop-string",
            Finish::MaxTokens => "max-tokens",
            Finish::Context => "context",
            Finish::Cancelled => "cancelled",
        }
    }
}

/// Tokens of a generation so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    pub prompt_tokens: u64,
    /// Tokens of the prompt that were in the session's cache already.
    pub cached_tokens: u64,
    /// Tokens that were chosen, the one that ended the text included.
    pub generated_tokens: u64,
}

/// The times of a generation, by [`Generation::clock`]. A rate is `None` if there were no tokens to divide by time.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Timing {
    /// Seconds from the first step to the first token.
    pub first_token: Option<f64>,
    /// Tokens of the prompt that were read in a second.
    pub prompt_rate: Option<f64>,
    /// Tokens in a second behind the first one.
    pub decode_rate: Option<f64>,
}

/// The state of a generation, apart from its session: whoever shares a session lends it to each
/// [`step`](Self::step). Everyone else uses a [`Generator`](super::Generator).
pub struct Decode {
    options: Generation,
    sampler: Sampler,
    /// None without a tokenizer, and behind the end.
    stream: Option<Stream>,
    stops: StopStrings,
    ends: Vec<u32>,
    left: u64,
    finish: Option<Finish>,
    usage: Usage,
    /// When the first step began, when the first token was there, and when the last one.
    times: [Option<f64>; 3],
}

impl Decode {
    /// Begins a generation behind the tokens of `text`.
    ///
    /// # Errors
    /// `EmptyPrompt` if there are none, or none behind embeddings; `Config` and `Kernel` for options out of their range;
    /// `Tokenizer` for stop strings without a tokenizer.
    pub fn new<B: Backend>(text: &mut Buffered<B>, options: &Generation) -> Result<Self> {
        let mut sampler = Sampler::new(options.sampling)?;
        let stops = StopStrings::new(&options.stop)?;
        text.hold_last()?;
        if text.pending().is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let model = text.session().model();
        let mut stream = match model.tokenizer() {
            Ok(tokenizer) => Some(tokenizer.stream(!options.show_special)),
            Err(error) if !options.stop.is_empty() => return Err(error),
            Err(_) => None,
        };
        let (replayed, mut stops) = (options.replay.len() as u64, stops);
        for &id in &options.replay {
            sampler.next(model.config().vocab);
            if let Some(piece) = stream.as_mut().and_then(|stream| stream.push(id)) {
                stops.push(&piece);
            }
        }
        let (tokens, read) = (u64::from(text.len()), text.session().tokens().len() as u64);
        let prompt_tokens = tokens.saturating_sub(replayed);
        let usage = Usage { prompt_tokens, cached_tokens: read.min(prompt_tokens), generated_tokens: replayed };
        Ok(Self {
            options: options.clone(),
            sampler,
            stream,
            stops,
            ends: if options.ignore_eos { Vec::new() } else { model.end_tokens().to_vec() },
            left: options.max_tokens.saturating_sub(replayed),
            finish: None,
            usage,
            times: [None; 3],
        })
    }

    /// Generates a token, or what there is to tell at the end; `None` behind the end. `text` is the session that the
    /// generation began in.
    ///
    /// Natively the future blocks the thread that polls it while the device works. If it is dropped before it ends, or ends
    /// with an error, the session holds what it held before, but for what was read of the prompt.
    ///
    /// # Errors
    /// Errors of reading the prompt and of the device.
    pub async fn step<B: Backend>(&mut self, text: &mut Buffered<B>) -> Result<Option<Piece>> {
        if self.finish.is_some() {
            return Ok(None);
        }
        self.times[0] = self.times[0].or_else(|| self.now());
        text.hold_last()?;
        if let Some(finish) = self.bound(text) {
            return Ok(self.end(finish));
        }
        if !self.read_prompt(text).await? {
            return Ok(self.end(Finish::Cancelled));
        }
        let token = self.choose(text).await?;
        let id = token.id;
        self.times[2] = self.now();
        self.times[1] = self.times[1].or(self.times[2]);
        self.usage.generated_tokens += 1;
        self.left -= 1;
        if self.ends.contains(&id) {
            text.drop_held();
            return Ok(self.end(Finish::EndOfText { token: id }));
        }
        let fresh = self.stream.as_mut().and_then(|stream| stream.push(id)).unwrap_or_default();
        let (fresh, stop) = self.stops.push(&fresh);
        if let Some(stop) = stop {
            self.finish = Some(Finish::StopString(stop));
        }
        Ok(Some(Piece { text: fresh, token: Some(token) }))
    }

    /// Why there is no further token, if there is none.
    fn bound<B: Backend>(&self, text: &Buffered<B>) -> Option<Finish> {
        if self.options.cancel.is_cancelled() {
            Some(Finish::Cancelled)
        } else if self.left == 0 {
            Some(Finish::MaxTokens)
        } else if text.pending().len() > text.session().room() as usize {
            Some(Finish::Context)
        } else {
            None
        }
    }

    /// Reads what waits, until one step is left. Returns `false` if it was cancelled in between.
    async fn read_prompt<B: Backend>(&self, text: &mut Buffered<B>) -> Result<bool> {
        let most = text.session().step_tokens() as usize;
        while text.pending().len() > most {
            text.read(most)?;
            // A device that only records would take in the whole prompt before anyone could cancel it.
            text.session().wait().await?;
            if self.options.cancel.is_cancelled() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn choose<B: Backend>(&mut self, text: &mut Buffered<B>) -> Result<Token> {
        let Some(count) = self.options.logprobs else {
            let id = text.next(&mut self.sampler).await?;
            return Ok(Token { id, likelihood: None, likeliest: Vec::new() });
        };
        let row = text.logits().await?;
        let id = chosen(&row, &mut self.sampler, text.session().tokens()).await?;
        if id == NOT_FINITE {
            let position = text.session().tokens().len() as u64;
            text.hold_last()?;
            return Err(Error::NotFinite { position });
        }
        text.hold(id);
        Ok(Token { id, likelihood: Some(likelihood(&row, id)), likeliest: likeliest(&row, count) })
    }

    /// Ends the generation with the text that was held back, if there is any.
    fn end(&mut self, finish: Finish) -> Option<Piece> {
        let rest = self.stream.take().and_then(Stream::finish).unwrap_or_default();
        let (mut text, stop) = self.stops.push(&rest);
        self.finish = Some(match stop {
            Some(stop) => Finish::StopString(stop),
            None => finish,
        });
        text.push_str(&self.stops.finish());
        if text.is_empty() { None } else { Some(Piece { text, token: None }) }
    }

    fn now(&self) -> Option<f64> {
        self.options.clock.map(|clock| clock())
    }

    /// Why the generation ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The times up to now.
    pub fn timing(&self) -> Timing {
        let [began, first, last] = self.times;
        let between = |from: Option<f64>, to: Option<f64>| from.zip(to).map(|(from, to)| to - from);
        let rate = |tokens: u64, seconds: Option<f64>| {
            seconds.filter(|seconds| tokens > 0 && *seconds > 0.0).map(|seconds| tokens as f64 / seconds)
        };
        let Usage { prompt_tokens, cached_tokens, generated_tokens } = self.usage;
        let first_token = between(began, first);
        Timing {
            first_token,
            prompt_rate: rate(prompt_tokens - cached_tokens, first_token),
            decode_rate: rate(generated_tokens.saturating_sub(1), between(first, last)),
        }
    }
}
