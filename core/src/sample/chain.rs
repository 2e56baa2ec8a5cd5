//! The chain of samplers on the host.

use super::candidates::Candidates;
use super::past::{Choice, Past};
use super::{Draws, Sampler, Samplers, Sampling, edits, filter};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use foveate_kernels::sample::choosable;

/// Tokens in front of a choice that are searched for the beginning of a banned text, at most.
const BANNED_TOKENS: usize = 64;

/// Chooses tokens on the host: mask, biases, penalties, exclusions, filters in their order, draw.
///
/// All of its state is the bound of Mirostat: everything else follows from the tokens before a choice and its position. A
/// clone therefore goes on as the original would.
#[derive(Clone, Debug)]
pub struct Chain {
    sampling: Sampling,
    samplers: Samplers,
    draws: Draws,
    /// Tokens that end a text: not before `min_tokens`.
    ends: Vec<u32>,
    words: Option<Tokenizer>,
    /// The bound of Mirostat, in bits.
    mu: f64,
    /// Tell of every token's surprise.
    tells: bool,
}

impl Chain {
    /// A chain for a model with these tokens at the end of texts. Banned texts and breakers are spelled by `words`.
    ///
    /// # Errors
    /// `OutOfRange` for settings out of their range; `Tokenizer` for banned texts without one.
    pub fn new(sampling: Sampling, samplers: Samplers, ends: &[u32], words: Option<&Tokenizer>) -> Result<Self> {
        Sampler::new(sampling)?;
        samplers.validate()?;
        if words.is_none() && !samplers.banned.is_empty() {
            return Err(Error::tokenizer("banned texts need one, and the model has none"));
        }
        let mu = samplers.mirostat.map_or(0.0, |mirostat| mirostat.begin());
        let (draws, ends, words) = (Draws::new(sampling.seed), ends.to_vec(), words.cloned());
        Ok(Self { sampling, samplers, draws, ends, words, mu, tells: false })
    }

    /// Takes its draws from `draws` in the place of those of its seed.
    pub fn with_draws(self, draws: Draws) -> Self {
        Self { draws, ..self }
    }

    /// Tells of the surprise of every token.
    pub fn with_surprise(self) -> Self {
        Self { tells: true, ..self }
    }

    /// Returns whether the op `sample` would choose the same token behind so many tokens of the answer, and nothing else is
    /// asked for.
    pub fn is_plain(&self, generated: u64) -> bool {
        self.samplers.off() && !self.tells && generated >= self.samplers.min_tokens
    }

    /// Chooses a token from a row of logits, which are changed. `allowed` has a bit for each token, in words of 32: others
    /// are excluded first.
    ///
    /// # Errors
    /// `NotFinite` for logits that hold NaN or infinity; `NoToken` if every token is excluded.
    pub fn choose(&mut self, row: &mut [f32], past: Past<'_>, allowed: Option<&[u32]>) -> Result<Choice> {
        self.edit(row, past, allowed)?;
        let tail = self.tail(past.tokens);
        loop {
            let left = self.filtered(row, past)?;
            let (id, truncated) = self.draw(&left, past.generated);
            if self.is_banned(&tail, id) {
                edits::exclude(row, &[id]);
                continue;
            }
            return Ok(Choice { id, surprise: self.learn(row, id, truncated) });
        }
    }

    /// Returns the tokens that [`choose`](Self::choose) draws from and their probabilities, in the order of the vocabulary;
    /// tokens that complete a banned text are among them.
    ///
    /// # Errors
    /// As [`choose`](Self::choose).
    pub fn distribution(&self, row: &mut [f32], past: Past<'_>, allowed: Option<&[u32]>) -> Result<Vec<(u32, f64)>> {
        self.edit(row, past, allowed)?;
        let left = self.filtered(row, past)?;
        Ok(left.kept.iter().map(|(id, _)| *id).zip(left.probabilities()).collect())
    }

    /// Changes logits: mask, biases, penalties, exclusions.
    pub(crate) fn edit(&self, row: &mut [f32], past: Past<'_>, allowed: Option<&[u32]>) -> Result<()> {
        if !choosable(row) {
            return Err(Error::NotFinite { position: past.tokens.len() as u64 });
        }
        if let Some(allowed) = allowed {
            edits::mask(row, allowed);
        }
        if past.generated < self.samplers.min_tokens {
            edits::exclude(row, &self.ends);
        }
        edits::apply(row, &self.samplers, self.sampling.repetition_penalty, past, self.words.as_ref());
        // A bias or a penalty may overflow.
        match row.iter().any(|z| z.is_nan() || *z == f32::INFINITY) {
            true => Err(Error::NotFinite { position: past.tokens.len() as u64 }),
            false => Ok(()),
        }
    }

    /// The tokens that the filters leave, in the order of the vocabulary, as the op `sample` draws.
    fn filtered(&self, row: &[f32], past: Past<'_>) -> Result<Candidates> {
        let greedy = self.samplers.mirostat.is_none() && self.sampling.temperature == 0.0;
        let mut c = if greedy { Candidates::likeliest(row) } else { Candidates::new(row) };
        if c.kept.is_empty() {
            return Err(Error::NoToken { position: past.tokens.len() as u64 });
        }
        if let Some(mirostat) = self.samplers.mirostat {
            c.temperature = self.temperature();
            mirostat.truncate(&mut c, self.mu);
        } else if !greedy {
            let coin = self.draws.coin(past.generated);
            for &filter in &self.samplers.order {
                filter::apply(filter, &mut c, &self.sampling, &self.samplers, coin);
            }
        }
        c.kept.sort_unstable_by_key(|(id, _)| *id);
        Ok(c)
    }

    /// A token, and `-log2` of its probability among those that are left.
    fn draw(&self, c: &Candidates, position: u64) -> (u32, f64) {
        let (max, mass) = (c.max(), c.mass());
        let target = f64::from(self.draws.choice(position)) * mass;
        let mut running = 0.0;
        let exceeds = |&&(_, z): &&(u32, f32)| {
            running += c.weight(z, max);
            running > target
        };
        let drawn = c.kept.iter().find(exceeds).or(c.kept.last());
        drawn.map_or((0, 0.0), |&(id, z)| (id, (mass / c.weight(z, max)).log2()))
    }

    /// Returns the temperature that surprise is measured at: 1 for greedy choices.
    fn temperature(&self) -> f64 {
        if self.sampling.temperature > 0.0 { self.sampling.temperature.into() } else { 1.0 }
    }

    /// Measures the surprise of a choice where that is needed, and tells Mirostat of it.
    fn learn(&mut self, row: &[f32], id: u32, truncated: f64) -> Option<f64> {
        if !self.tells && self.samplers.mirostat.is_none() {
            return None;
        }
        let temperature = self.temperature();
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |z: f32| ((f64::from(z) - f64::from(max)) / temperature).exp();
        let mass: f64 = row.iter().map(|&z| weight(z)).sum();
        let surprise = (mass / weight(row[id as usize])).log2();
        if let Some(mirostat) = self.samplers.mirostat {
            self.mu = mirostat.learn(self.mu, if mirostat.truncated { truncated } else { surprise });
        }
        Some(surprise)
    }

    /// Edits a row of logits as [`choose`](Self::choose) does, and excludes those of its `count` likeliest tokens that would
    /// complete a banned text, until none of these does.
    pub(crate) fn edit_best(
        &self,
        row: &mut [f32],
        past: Past<'_>,
        allowed: Option<&[u32]>,
        count: usize,
    ) -> Result<()> {
        self.edit(row, past, allowed)?;
        let tail = self.tail(past.tokens);
        while !self.samplers.banned.is_empty() {
            let best = super::likeliest(row, count).into_iter().filter(|(_, logprob)| logprob.is_finite());
            let banned: Vec<u32> = best.map(|(id, _)| id).filter(|id| self.is_banned(&tail, *id)).collect();
            if banned.is_empty() {
                break;
            }
            edits::exclude(row, &banned);
        }
        Ok(())
    }

    /// The text in front of a choice in which a banned text may begin.
    fn tail(&self, tokens: &[u32]) -> Vec<u32> {
        match self.samplers.banned.iter().map(String::len).max() {
            Some(longest) => {
                let known = tokens.iter().rev().take_while(|id| **id != crate::cache::NO_TOKEN);
                let mut tail: Vec<u32> = known.take(longest.min(BANNED_TOKENS)).copied().collect();
                tail.reverse();
                tail
            }
            None => Vec::new(),
        }
    }

    /// Returns whether a banned text is complete with this token.
    fn is_banned(&self, tail: &[u32], id: u32) -> bool {
        let Some(words) = self.words.as_ref().filter(|_| !self.samplers.banned.is_empty()) else { return false };
        let text = |ids: &[u32]| words.decode(ids, true).unwrap_or_default();
        let (before, with) = (text(tail), text(&[tail, &[id]].concat()));
        self.samplers
            .banned
            .iter()
            .any(|banned| with.matches(banned.as_str()).count() > before.matches(banned.as_str()).count())
    }
}
