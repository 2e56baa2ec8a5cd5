//! Continuations that are drawn side by side.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::generate::search::{Cost, Lanes, prefill};
use crate::generate::stop::StopStrings;
use crate::generate::{Finish, Generation};
use crate::sample::{Chain, Draws, Past, likelihood};
use crate::session::Buffered;
use crate::tokenizer::Stream;

/// An answer that was drawn.
#[derive(Clone, PartialEq, Debug)]
pub struct Draw {
    /// The generated tokens, the one that ended the text among them.
    pub ids: Vec<u32>,
    /// Their text.
    pub text: String,
    /// The sum of the natural logarithms of their probabilities, as the model gave them: before penalties, temperature and
    /// filters.
    pub logprob: f64,
    /// The reason why the answer ended.
    pub finish: Finish,
}

impl Draw {
    /// The mean log-probability of a token; that of no tokens is minus infinity.
    pub fn mean_logprob(&self) -> f64 {
        if self.ids.is_empty() { f64::NEG_INFINITY } else { self.logprob / self.ids.len() as f64 }
    }
}

/// A continuation that is being drawn.
pub(super) struct Walk<B: Backend> {
    pub(super) text: Buffered<B>,
    pub(super) chain: Chain,
    /// None without a tokenizer.
    stream: Option<Stream>,
    stops: StopStrings,
    ends: Vec<u32>,
    words: String,
    pub(super) ids: Vec<u32>,
    logprob: f64,
    /// Tokens that were generated in front of `ids`.
    pub(super) before: u64,
    most: u64,
    pub(super) finish: Option<Finish>,
}

impl<B: Backend> Walk<B> {
    pub(super) fn new(text: Buffered<B>, options: &Generation, sequence: u64) -> Result<Self> {
        let model = text.session().model().clone();
        let chain = Chain::new(options.sampling, options.samplers.clone(), model.end_tokens(), model.tokenizer().ok())?
            .with_draws(Draws::of_sequence(options.sampling.seed, sequence));
        Ok(Self {
            chain,
            stream: model.tokenizer().ok().map(|tokenizer| tokenizer.stream(!options.show_special)),
            stops: StopStrings::new(&options.stop)?,
            ends: if options.ignore_eos { Vec::new() } else { model.end_tokens().to_vec() },
            words: String::new(),
            ids: Vec::new(),
            logprob: 0.0,
            before: 0,
            most: options.max_tokens,
            finish: None,
            text,
        })
    }

    /// Chooses a token from the row of logits behind the text, which then waits in it. Returns the token and its
    /// log-probability.
    pub(super) fn step(&mut self, row: &[f32]) -> Result<(u32, f64)> {
        let tokens = self.text.tokens();
        let past = Past { tokens: &tokens, generated: self.before + self.ids.len() as u64 };
        let id = self.chain.choose(&mut row.to_vec(), past, None)?.id;
        let logprob = likelihood(row, id).logprob;
        self.take(id, logprob);
        Ok((id, logprob))
    }

    /// Takes in a token with its log-probability.
    pub(super) fn take(&mut self, id: u32, logprob: f64) {
        self.ids.push(id);
        self.logprob += logprob;
        if self.ends.contains(&id) {
            self.finish = Some(Finish::EndOfText { token: id });
            return;
        }
        self.text.hold(id);
        let fresh = self.stream.as_mut().and_then(|stream| stream.push(id)).unwrap_or_default();
        let (fresh, stop) = self.stops.push(&fresh);
        self.words.push_str(&fresh);
        self.finish = match stop {
            Some(stop) => Some(Finish::StopString(stop)),
            None if self.before + self.ids.len() as u64 >= self.most => Some(Finish::MaxTokens),
            None if self.text.session().room() == 0 => Some(Finish::Context),
            None => None,
        };
    }

    /// Ends the text and returns it.
    pub(super) fn done(mut self) -> Draw {
        if !matches!(self.finish, Some(Finish::StopString(_))) {
            let rest = self.stream.take().and_then(Stream::finish).unwrap_or_default();
            let (rest, stop) = self.stops.push(&rest);
            self.words.push_str(&rest);
            match stop {
                Some(stop) => self.finish = Some(Finish::StopString(stop)),
                None => self.words.push_str(&self.stops.finish()),
            }
        }
        let finish = self.finish.unwrap_or(Finish::Cancelled);
        Draw { ids: self.ids, text: self.words, logprob: self.logprob, finish }
    }
}

/// Refuses settings that draws side by side do not combine with.
pub(super) fn admit(options: &Generation) -> Result<()> {
    match options.constraint.is_some() || options.speculate.is_some() {
        true => {
            let reason = "answers that are drawn side by side have no constraints and no drafts: leave them out";
            Err(Error::Setting { reason: reason.into() })
        }
        false => Ok(()),
    }
}

/// Draws `n` answers behind the tokens of `text`, which steps share. Answer `i` has the draws of
/// [`Generation::sequence`] `i`, so it is the one that a generation of its own would give. The pool of the session needs room
/// for all of them.
///
/// # Errors
/// `Setting` for constraints and drafts; as [`Decode`](crate::generate::Decode).
pub async fn draw<B: Backend>(mut text: Buffered<B>, options: &Generation, n: usize) -> Result<(Vec<Draw>, Cost)> {
    admit(options)?;
    prefill(&mut text)?;
    let mut lanes = Lanes::new(&text, n)?;
    let shared = text.snapshot();
    let mut walks = Vec::with_capacity(n.min(1024));
    for sequence in 0..n as u64 {
        walks.push(Walk::new(text.fork(&shared)?, options, sequence)?);
    }
    if options.max_tokens == 0 {
        walks.iter_mut().for_each(|walk| walk.finish = Some(Finish::MaxTokens));
    }
    while !options.cancel.is_cancelled() {
        let mut going: Vec<&mut Walk<B>> = walks.iter_mut().filter(|walk| walk.finish.is_none()).collect();
        if going.is_empty() {
            break;
        }
        let mut texts: Vec<&mut Buffered<B>> = going.iter_mut().map(|walk| &mut walk.text).collect();
        let rows = lanes.rows(&mut texts).await?;
        for (walk, row) in going.into_iter().zip(rows) {
            walk.step(&row)?;
        }
    }
    Ok((walks.into_iter().map(Walk::done).collect(), lanes.cost))
}

/// The answer of the highest mean log-probability, the first of equals; `None` of no answers.
pub fn best(draws: &[Draw]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (at, draw) in draws.iter().enumerate() {
        if best.is_none_or(|best| draw.mean_logprob() > draws[best].mean_logprob()) {
            best = Some(at);
        }
    }
    best
}
