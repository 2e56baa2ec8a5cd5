//! Beam search.
//!
//! ```text
//! score(x) = sum log p(x_i | x_<i) / L^length_penalty        L: generated tokens, the end of the text among them
//! ```
//! Each step keeps the best `max(2, 1 + ends) B` continuations of the `B` running beams, by the plain sum. One that ends is
//! finished if it is among the first `B`; the best `B` that do not end run on. These are the rules of transformers, so the
//! texts are the same. Ties go to the earlier beam, then to the lower id.

use super::hypothesis::{Hypothesis, admit};
use super::lanes::{Cost, Lanes, log_softmax, prefill};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::generate::{Finish, Generation};
use crate::sample::{Chain, Past};
use crate::session::Buffered;

/// The settings of a beam search.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BeamSearch {
    /// Texts that are followed at a time. 1 is greedy.
    pub beams: usize,
    /// The exponent of the length in the score: above 0 favours long texts, 0 compares plain sums, below 0 favours short ones.
    pub length_penalty: f64,
    /// The rule by which the search ends before every beam has.
    pub early_stopping: EarlyStopping,
}

/// The rule that ends a beam search once as many texts as beams are finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EarlyStopping {
    /// Ends the search at once.
    Yes,
    /// Ends it when the best running beam, scored at its present length, is no better than the worst finished text.
    #[default]
    No,
    /// Ends it when the best running beam can be no better at any length up to the maximum: with a positive length penalty,
    /// the beam is scored at the maximum.
    Never,
}

impl Default for BeamSearch {
    fn default() -> Self {
        Self { beams: 4, length_penalty: 1.0, early_stopping: EarlyStopping::No }
    }
}

/// A running beam.
struct Beam<B: Backend> {
    text: Buffered<B>,
    ids: Vec<u32>,
    sum: f64,
}

/// A token behind a running beam.
#[derive(Clone, Copy)]
struct Candidate {
    sum: f64,
    beam: usize,
    id: u32,
}

/// Returns the best texts behind the tokens of `text`, the best one first: as many as beams, or fewer if there are no more. The
/// score of a text is the sum of its log-probabilities over the length to the power of the length penalty.
///
/// Penalties, biases and exclusions of `options` change log-probabilities, which are not normalised again. The pool of the
/// session needs room for the prompt and twice as many sequences as beams.
///
/// # Errors
/// `Setting` for no beams, for a length penalty that is not finite, and for what a search does not combine with: a
/// temperature, Mirostat, stop strings, constraints and drafts. As [`Decode`](crate::generate::Decode).
pub async fn beam_search<B: Backend>(
    mut text: Buffered<B>,
    options: &Generation,
    search: &BeamSearch,
) -> Result<(Vec<Hypothesis>, Cost)> {
    search.validate(options)?;
    let model = text.session().model().clone();
    let ends: Vec<u32> = if options.ignore_eos { Vec::new() } else { model.end_tokens().to_vec() };
    let chain = Chain::new(options.sampling, options.samplers.clone(), model.end_tokens(), model.tokenizer().ok())?;
    prefill(&mut text)?;
    let room = u64::from(text.session().room());
    let most = options.max_tokens.min(room);
    let last = || if options.max_tokens <= room { Finish::MaxTokens } else { Finish::Context };
    let mut lanes = Lanes::new(&text, search.beams)?;
    let mut running = vec![Beam { text, ids: Vec::new(), sum: 0.0 }];
    let mut finished: Vec<Hypothesis> = Vec::new();
    let score = |sum: f64, length: u64| sum / (length as f64).powf(search.length_penalty);
    for length in 1..=most {
        if options.cancel.is_cancelled() {
            break;
        }
        let mut texts: Vec<&mut Buffered<B>> = running.iter_mut().map(|beam| &mut beam.text).collect();
        let rows = lanes.rows(&mut texts).await?;
        let candidates = candidates(&running, rows, &chain, search.beams * (1 + ends.len()).max(2))?;
        let ended = |candidate: &Candidate| ends.contains(&candidate.id);
        for candidate in candidates.iter().take(search.beams).filter(|c| ended(c) || length == most) {
            let mut ids = running[candidate.beam].ids.clone();
            ids.push(candidate.id);
            let finish = if ended(candidate) { Finish::EndOfText { token: candidate.id } } else { last() };
            finished.push(Hypothesis { ids, text: String::new(), score: score(candidate.sum, length), finish });
        }
        // A stable order: what was finished first stays in front.
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        finished.truncate(search.beams);
        let next: Vec<Candidate> = candidates.into_iter().filter(|c| !ended(c)).take(search.beams).collect();
        let Some(best) = next.first().filter(|_| length < most) else { break };
        if finished.len() == search.beams {
            let never = search.early_stopping == EarlyStopping::Never && search.length_penalty > 0.0;
            let best = score(best.sum, if never { options.max_tokens } else { length });
            let improves = finished.last().is_some_and(|worst| best > worst.score);
            if search.early_stopping == EarlyStopping::Yes || !improves {
                break;
            }
        }
        running = advance(&running, &next)?;
    }
    if finished.is_empty() {
        // The caller cancelled the search: the running beams are what there is.
        let cut = |beam: &Beam<B>| Hypothesis {
            ids: beam.ids.clone(),
            text: String::new(),
            score: score(beam.sum, beam.ids.len().max(1) as u64),
            finish: Finish::Cancelled,
        };
        finished = running.iter().map(cut).collect();
    }
    for found in &mut finished {
        found.spell(&model, options)?;
    }
    Ok((finished, lanes.cost))
}

impl BeamSearch {
    fn validate(&self, options: &Generation) -> Result<()> {
        if self.beams == 0 || !self.length_penalty.is_finite() {
            let reason = "a beam search needs at least 1 beam and a finite length penalty";
            return Err(Error::Setting { reason: reason.into() });
        }
        admit("a beam search", options)
    }
}

/// The best `count` continuations of all beams, the best one first.
fn candidates<B: Backend>(
    running: &[Beam<B>],
    rows: Vec<Vec<f32>>,
    chain: &Chain,
    count: usize,
) -> Result<Vec<Candidate>> {
    let better = |a: &Candidate, b: &Candidate| b.sum.total_cmp(&a.sum).then((a.beam, a.id).cmp(&(b.beam, b.id)));
    let mut all: Vec<Candidate> = Vec::new();
    for (index, (beam, row)) in running.iter().zip(rows).enumerate() {
        let tokens = beam.text.tokens();
        let past = Past { tokens: &tokens, generated: beam.ids.len() as u64 };
        if !foveate_kernels::sample::choosable(&row) {
            return Err(Error::NotFinite { position: tokens.len() as u64 });
        }
        let mut row = log_softmax(&row);
        chain.edit(&mut row, past, None)?;
        let left = (0..).zip(row).filter(|(_, logprob)| *logprob > f32::NEG_INFINITY);
        let mut own: Vec<Candidate> =
            left.map(|(id, logprob)| Candidate { sum: beam.sum + f64::from(logprob), beam: index, id }).collect();
        if own.len() > count {
            own.select_nth_unstable_by(count, better);
            own.truncate(count);
        }
        all.append(&mut own);
    }
    all.sort_unstable_by(better);
    all.truncate(count);
    match running.first().filter(|_| all.is_empty()) {
        Some(beam) => Err(Error::NoToken { position: beam.text.len().into() }),
        None => Ok(all),
    }
}

/// The beams of the next step: forks of those that the chosen continuations follow.
fn advance<B: Backend>(running: &[Beam<B>], next: &[Candidate]) -> Result<Vec<Beam<B>>> {
    let follow = |candidate: &Candidate| {
        let parent = &running[candidate.beam];
        let mut text = parent.text.fork(&parent.text.snapshot())?;
        text.hold(candidate.id);
        let ids = [&parent.ids[..], &[candidate.id]].concat();
        Ok(Beam { text, ids, sum: candidate.sum })
    };
    next.iter().map(follow).collect()
}
