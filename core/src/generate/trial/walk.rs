//! Continuations that are drawn side by side.

use crate::backend::Backend;
use crate::constrain::Mask;
use crate::error::Result;
use crate::generate::admit::{DRAFTS, REASONING, REPLAY, REPORTS, admit};
use crate::generate::progress::Progress;
use crate::generate::search::{Cost, Lanes, prefill};
use crate::generate::{Finish, Generation};
use crate::sample::{Chain, Draws, Past, likelihood};
use crate::session::{Buffered, BufferedSnapshot};

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
    pub(super) progress: Progress,
    pub(super) ids: Vec<u32>,
    pub(super) logprob: f64,
    /// Tokens that were generated in front of `ids`.
    pub(super) before: u64,
    most: u64,
    pub(super) finish: Option<Finish>,
}

impl<B: Backend> Walk<B> {
    pub(super) fn new(text: Buffered<B>, options: &Generation, sequence: u64) -> Result<Self> {
        let model = text.session().model().clone();
        let chain = options.chain(&model)?.with_draws(Draws::of_sequence(options.sampling.seed, sequence));
        Ok(Self {
            chain,
            progress: Progress::new(&model, options)?,
            ids: Vec::new(),
            logprob: 0.0,
            before: 0,
            most: options.max_tokens,
            finish: None,
            text,
        })
    }

    /// Begins a continuation of this one in a fork of its text, behind `before` tokens of the answer.
    pub(super) fn branch(&self, shared: &BufferedSnapshot<B>, before: u64) -> Result<Self> {
        Ok(Self {
            text: self.text.fork(shared)?,
            chain: self.chain.clone(),
            progress: self.progress.clone(),
            ids: Vec::new(),
            logprob: 0.0,
            before,
            most: self.most,
            finish: None,
        })
    }

    /// Returns the distribution that the next token is drawn from, given the row of logits behind the text.
    pub(super) fn law(&mut self, row: &[f32]) -> Result<Vec<(u32, f64)>> {
        if let Some(id) = self.progress.forced() {
            return Ok(vec![(id, 1.0)]);
        }
        let (tokens, mask) = (self.text.tokens(), self.progress.mask()?);
        let past = Past { tokens: &tokens, generated: self.before + self.ids.len() as u64 };
        self.chain.distribution(&mut row.to_vec(), past, mask.as_ref().map(Mask::words))
    }

    /// Chooses a token from the row of logits behind the text, which then waits in it. Returns the token.
    pub(super) fn step(&mut self, row: &[f32]) -> Result<u32> {
        let id = match self.progress.forced() {
            Some(id) => id,
            None => {
                let (tokens, mask) = (self.text.tokens(), self.progress.mask()?);
                let past = Past { tokens: &tokens, generated: self.before + self.ids.len() as u64 };
                self.chain.choose(&mut row.to_vec(), past, mask.as_ref().map(Mask::words))?.id
            }
        };
        self.ids.push(id);
        self.logprob += likelihood(row, id).logprob;
        let end = self.progress.take(id)?;
        if !matches!(end, Some(Finish::EndOfText { .. })) {
            self.text.hold(id);
        }
        self.finish = match end {
            Some(end) => Some(end),
            None if self.before + self.ids.len() as u64 >= self.most => Some(Finish::MaxTokens),
            None if self.text.session().room() == 0 => Some(Finish::Context),
            None => None,
        };
        Ok(id)
    }

    /// Ends the text and returns it.
    pub(super) fn done(self) -> Draw {
        let (text, finish) = self.progress.end(self.finish.unwrap_or(Finish::Cancelled));
        Draw { ids: self.ids, text, logprob: self.logprob, finish }
    }
}

/// Refuses settings that draws side by side do not combine with.
///
/// # Errors
/// `Setting` for drafts, reports of each token, a reasoning budget and replayed tokens.
pub(super) fn admit_draws(method: &str, options: &Generation) -> Result<()> {
    admit(method, options, &[DRAFTS, REPORTS, REASONING, REPLAY])
}

/// Draws `n` answers behind the tokens of `text`, which steps share. Answer `i` has the draws of the
/// [`Generation::sequence`] that is `i` above that of the options, so it is the one that a generation of its own would give.
/// The pool of the session needs room for all of them.
///
/// # Errors
/// `Setting` for drafts, reports of each token, a reasoning budget and replayed tokens; as [`Decode`](crate::generate::Decode).
pub async fn draw<B: Backend>(mut text: Buffered<B>, options: &Generation, n: usize) -> Result<(Vec<Draw>, Cost)> {
    admit_draws("drawing answers side by side", options)?;
    prefill(&mut text)?;
    let mut lanes = Lanes::new(&text, n)?;
    let shared = text.snapshot();
    let mut walks = Vec::with_capacity(n.min(1024));
    for sequence in 0..n as u64 {
        walks.push(Walk::new(text.fork(&shared)?, options, options.sequence + sequence)?);
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
