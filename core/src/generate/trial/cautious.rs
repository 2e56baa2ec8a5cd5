//! Cautious next token prediction (2507.03038).

use super::least;
use super::walk::{Draw, Walk, admit_draws};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::generate::search::{Cost, Lanes, prefill};
use crate::generate::{Finish, Generation};
use crate::sample::Draws;
use crate::session::Buffered;
use crate::settable::settable;

settable! {
    /// The settings of cautious decoding: those of the authors' scripts by default.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Cautious {
        /// The most trials in one place.
        pub trials: u32,
        /// The entropy, in nats, up to which one trial is made.
        pub low: f64,
        /// The entropy, in nats, from which on all trials are made.
        pub high: f64,
        /// The most tokens of a trial.
        pub longest: u64,
    }
}

impl Default for Cautious {
    fn default() -> Self {
        Self { trials: 10, low: 0.01, high: 1.5, longest: 64 }
    }
}

impl Cautious {
    /// Returns the number of trials in a place of entropy `H`: `1 + (trials - 1) clamp((H - low) / (high - low), 0, 1)`,
    /// rounded down.
    pub fn trials_at(&self, entropy: f64) -> u32 {
        let share = ((entropy - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        (1.0 + f64::from(self.trials - 1) * share) as u32
    }

    fn validate(&self) -> Result<()> {
        let ordered = self.low.is_finite() && self.high.is_finite() && self.low < self.high;
        match ordered && self.trials >= 1 && self.longest >= 1 {
            true => Ok(()),
            false => {
                let reason = "cautious decoding needs at least 1 trial of at least 1 token, and a low entropy below the \
                              high one";
                Err(Error::Setting { reason: reason.into() })
            }
        }
    }
}

/// A place in which several continuations were tried.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Trial {
    /// Tokens of the answer in front of it.
    pub at: u64,
    /// The entropy, in nats, of the distribution that tokens are drawn from.
    pub entropy: f64,
    /// The perplexity of each continuation under that distribution.
    pub perplexities: Vec<f64>,
    /// The index of the continuation that is kept.
    pub chosen: usize,
}

/// The text of cautious decoding.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct CautiousText {
    /// The text that was kept.
    pub draw: Draw,
    /// The trials that were made on the way.
    pub trials: Vec<Trial>,
    /// Steps and tokens of the text and its trials.
    pub cost: Cost,
}

/// The marks that end a trial: a token that is the first one of any of them.
const MARKS: [&str; 10] = [".", ",", "\n", "?", "!", ":", ";", ")", "]", "}"];

/// Generates behind the tokens of `text` by cautious next token prediction: where the distribution has a high entropy,
/// several continuations up to the next punctuation mark are drawn, and the one of the lowest perplexity
/// `exp(-mean ln p)` is appended whole, the first of equals.
///
/// One trial is plain decoding with the same draws. The pool of the session needs room for `trials` sequences.
///
/// # Errors
/// `Setting` for settings out of their range, constraints and drafts; `Tokenizer` without one; as
/// [`Decode`](crate::generate::Decode).
pub async fn cautious<B: Backend>(
    mut text: Buffered<B>,
    options: &Generation,
    settings: &Cautious,
) -> Result<CautiousText> {
    settings.validate()?;
    admit_draws("cautious decoding", options)?;
    prefill(&mut text)?;
    let model = text.session().model().clone();
    let mut marks: Vec<u32> = Vec::new();
    for mark in MARKS {
        marks.extend(model.tokenizer()?.encode(mark, false)?.first());
    }
    let mut lanes = Lanes::new(&text, settings.trials as usize)?;
    let mut walk = Walk::new(text, options, options.sequence)?;
    let own = Draws::of_sequence(options.sampling.seed, options.sequence);
    let mut trials = Vec::new();
    if options.max_tokens == 0 {
        walk.finish = Some(Finish::MaxTokens);
    }
    while walk.finish.is_none() && !options.cancel.is_cancelled() {
        let Some(row) = lanes.rows(&mut [&mut walk.text]).await?.pop() else { break };
        let at = walk.ids.len() as u64;
        let law = walk.law(&row)?;
        let entropy = -law.iter().map(|(_, p)| if *p > 0.0 { p * p.ln() } else { 0.0 }).sum::<f64>();
        let count = settings.trials_at(entropy);
        if count == 1 {
            walk.step(&row)?;
            continue;
        }
        let shared = walk.text.snapshot();
        let mut tried = Vec::new();
        for trial in 0..u64::from(count) {
            let mut fork = walk.branch(&shared, at)?;
            // The first trial is what plain decoding would write.
            if trial > 0 {
                fork.chain = fork.chain.with_draws(own.of_trial(at, trial));
            }
            tried.push(Path { walk: fork, drawn: 0.0, over: false });
        }
        for path in &mut tried {
            path.step(&row, &marks, settings.longest)?;
        }
        loop {
            let mut going: Vec<&mut Path<B>> = tried.iter_mut().filter(|path| !path.over).collect();
            if going.is_empty() || options.cancel.is_cancelled() {
                break;
            }
            let mut texts: Vec<&mut Buffered<B>> = going.iter_mut().map(|path| &mut path.walk.text).collect();
            let rows = lanes.rows(&mut texts).await?;
            for (path, row) in going.into_iter().zip(rows) {
                path.step(&row, &marks, settings.longest)?;
            }
        }
        let perplexities: Vec<f64> =
            tried.iter().map(|path| (-path.drawn / path.walk.ids.len() as f64).exp()).collect();
        let chosen = least(&perplexities);
        let path = tried.swap_remove(chosen).walk;
        walk.ids.extend(path.ids);
        walk.logprob += path.logprob;
        // The trial's cache has read all of its tokens but the last one, which waits.
        (walk.text, walk.progress, walk.finish) = (path.text, path.progress, path.finish);
        walk.chain = path.chain.with_draws(own);
        trials.push(Trial { at, entropy, perplexities, chosen });
    }
    Ok(CautiousText { draw: walk.done(), trials, cost: lanes.cost })
}

/// A continuation that is tried.
struct Path<B: Backend> {
    walk: Walk<B>,
    /// The sum of `ln p` under the distribution that tokens are drawn from.
    drawn: f64,
    over: bool,
}

impl<B: Backend> Path<B> {
    fn step(&mut self, row: &[f32], marks: &[u32], longest: u64) -> Result<()> {
        let law = self.walk.law(row)?;
        let id = self.walk.step(row)?;
        let p = law.iter().find(|(of, _)| *of == id).map_or(f64::MIN_POSITIVE, |(_, p)| *p);
        self.drawn += p.ln();
        self.over = self.walk.finish.is_some() || marks.contains(&id) || self.walk.ids.len() as u64 >= longest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_follow_the_entropy() {
        let settings = Cautious::default();
        // The table of the authors' code.
        let counts = [0.0, 0.01, 0.2, 0.75, 1.0, 1.5, 9.0].map(|entropy| settings.trials_at(entropy));
        assert_eq!(counts, [1, 1, 2, 5, 6, 10, 10]);
        assert!(Cautious { low: 2.0, ..settings }.validate().is_err());
        assert_eq!(Cautious { trials: 1, ..settings }.trials_at(5.0), 1);
    }
}
