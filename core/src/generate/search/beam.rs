//! Beam search.
//!
//! ```text
//! score(x) = sum log p(x_i | x_<i) / L^length_penalty        L: generated tokens, the end of the text among them
//! ```
//! Each step keeps the best `max(2, 1 + ends) B` continuations of the `B` running beams, by the plain sum. One that ends is
//! finished if it is among the first `B`; the best `B` that do not end run on. These are the rules of transformers, so the
//! texts are the same. Ties go to the earlier beam, then to the lower id.
//!
//! A text that completes a stop string or its constraint ends like one with a token that ends texts. A constraint excludes
//! tokens like a ban; where it forces a token, that token is the only continuation.

use super::hypothesis::{Hypothesis, admit_search};
use super::lanes::{Cost, Lanes, log_softmax, prefill};
use crate::backend::Backend;
use crate::constrain::Mask;
use crate::error::{Error, Result};
use crate::generate::progress::Progress;
use crate::generate::{Finish, Generation};
use crate::sample::{Chain, Past, in_range};
use crate::session::Buffered;
use crate::settable::settable;

settable! {
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
}

/// The rule that ends a beam search once as many texts as beams are finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
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
    progress: Progress,
}

/// A token behind a running beam.
#[derive(Clone, Copy)]
struct Candidate {
    sum: f64,
    beam: usize,
    id: u32,
}

/// A candidate with what its token makes of the text.
struct Continued {
    candidate: Candidate,
    progress: Progress,
    /// The reason, if the text ends.
    finish: Option<Finish>,
}

/// Returns the best texts behind the tokens of `text`, the best one first: as many as beams, or fewer if there are no more. The
/// score of a text is the sum of its log-probabilities over the length to the power of the length penalty.
///
/// Stop strings and constraints hold for each text. Penalties, biases and exclusions of `options` change log-probabilities,
/// which are not normalised again. The pool of the session needs room for the prompt and twice as many sequences as beams.
///
/// # Errors
/// `OutOfRange` for no beams and for a length penalty that is not finite; `Setting` for what a search does not combine with: ways to
/// draw, drafts, reports of each token, a reasoning budget and replayed tokens. As [`Decode`](crate::generate::Decode).
pub async fn beam_search<B: Backend>(
    mut text: Buffered<B>,
    options: &Generation,
    search: &BeamSearch,
) -> Result<(Vec<Hypothesis>, Cost)> {
    search.validate()?;
    admit_search("a beam search", options)?;
    let model = text.session().model().clone();
    let ends: Vec<u32> = if options.ignore_eos { Vec::new() } else { model.end_tokens().to_vec() };
    let chain = options.chain(&model)?;
    prefill(&mut text)?;
    let room = u64::from(text.session().room());
    let most = options.max_tokens.min(room);
    let last = || if options.max_tokens <= room { Finish::MaxTokens } else { Finish::Context };
    let mut lanes = Lanes::new(&text, search.beams)?;
    let progress = Progress::new(&model, options)?;
    let mut running = vec![Beam { text, ids: Vec::new(), sum: 0.0, progress }];
    let mut finished: Vec<Hypothesis> = Vec::new();
    let score = |sum: f64, length: u64| sum / (length as f64).powf(search.length_penalty);
    for length in 1..=most {
        if options.cancel.is_cancelled() {
            break;
        }
        let mut texts: Vec<&mut Buffered<B>> = running.iter_mut().map(|beam| &mut beam.text).collect();
        let rows = lanes.rows(&mut texts).await?;
        let count = search.beams * (1 + ends.len()).max(2);
        let candidates = candidates(&mut running, rows, &chain, count)?;
        let continued = Continued::all(&running, candidates)?;
        for found in continued.iter().take(search.beams).filter(|c| c.finish.is_some() || length == most) {
            let Candidate { sum, beam, id } = found.candidate;
            let ids = [&running[beam].ids[..], &[id]].concat();
            let (text, finish) = found.progress.clone().end(found.finish.clone().unwrap_or_else(last));
            finished.push(Hypothesis { ids, text, score: score(sum, length), finish });
        }
        // A stable order: what was finished first stays in front.
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        finished.truncate(search.beams);
        let next: Vec<Continued> = continued.into_iter().filter(|c| c.finish.is_none()).take(search.beams).collect();
        let Some(best) = next.first().filter(|_| length < most).map(|next| next.candidate) else { break };
        if finished.len() == search.beams {
            let never = search.early_stopping == EarlyStopping::Never && search.length_penalty > 0.0;
            let best = score(best.sum, if never { options.max_tokens } else { length });
            let improves = finished.last().is_some_and(|worst| best > worst.score);
            if search.early_stopping == EarlyStopping::Yes || !improves {
                break;
            }
        }
        running = advance(&running, next)?;
    }
    if finished.is_empty() {
        // The caller cancelled the search: the running beams are what there is.
        let cut = |beam: Beam<B>| {
            let score = score(beam.sum, beam.ids.len().max(1) as u64);
            let (text, finish) = beam.progress.end(Finish::Cancelled);
            Hypothesis { ids: beam.ids, text, score, finish }
        };
        finished = running.into_iter().map(cut).collect();
    }
    Ok((finished, lanes.cost))
}

impl BeamSearch {
    /// # Errors
    /// `OutOfRange` for no beams, and for a penalty that is not finite.
    pub fn validate(&self) -> Result<()> {
        if self.beams == 0 {
            return Err(Error::out_of_range("num-beams", "1 or more", 0));
        }
        in_range("length-penalty", self.length_penalty as f32, f32::MIN, f32::MAX)
    }
}

impl Continued {
    /// Leaves out candidates whose tokens break a constraint: no mask excludes a token that spells the mark of
    /// [`Constraint::after`](crate::constrain::Constraint::after) and goes on with other text.
    ///
    /// # Errors
    /// `Constraint` if none is left.
    fn all<B: Backend>(running: &[Beam<B>], candidates: Vec<Candidate>) -> Result<Vec<Self>> {
        let (mut all, mut broken) = (Vec::new(), None);
        for candidate in candidates {
            match Self::new(running, candidate) {
                Ok(continued) => all.push(continued),
                Err(error @ Error::Constraint { .. }) => broken = Some(error),
                Err(error) => return Err(error),
            }
        }
        broken.filter(|_| all.is_empty()).map_or(Ok(all), Err)
    }

    fn new<B: Backend>(running: &[Beam<B>], candidate: Candidate) -> Result<Self> {
        let mut progress = running[candidate.beam].progress.clone();
        let finish = progress.take(candidate.id)?;
        Ok(Self { candidate, progress, finish })
    }
}

/// The best `count` continuations of all beams, the best one first.
fn candidates<B: Backend>(
    running: &mut [Beam<B>],
    rows: Vec<Vec<f32>>,
    chain: &Chain,
    count: usize,
) -> Result<Vec<Candidate>> {
    let better = |a: &Candidate, b: &Candidate| b.sum.total_cmp(&a.sum).then((a.beam, a.id).cmp(&(b.beam, b.id)));
    let mut all: Vec<Candidate> = Vec::new();
    for (index, (beam, row)) in running.iter_mut().zip(rows).enumerate() {
        let tokens = beam.text.tokens();
        let past = Past { tokens: &tokens, generated: beam.ids.len() as u64 };
        if !foveate_kernels::sample::choosable(&row) {
            return Err(Error::NotFinite { position: tokens.len() as u64 });
        }
        let mut row = log_softmax(&row);
        let candidate = |(id, logprob): (u32, f32)| Candidate { sum: beam.sum + f64::from(logprob), beam: index, id };
        if let Some(id) = beam.progress.forced() {
            all.push(candidate((id, row[id as usize])));
            continue;
        }
        let mask = beam.progress.mask()?;
        chain.edit_best(&mut row, past, mask.as_ref().map(Mask::words), count)?;
        let left = (0..).zip(row).filter(|(_, logprob)| *logprob > f32::NEG_INFINITY);
        let mut own: Vec<Candidate> = left.map(candidate).collect();
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
fn advance<B: Backend>(running: &[Beam<B>], next: Vec<Continued>) -> Result<Vec<Beam<B>>> {
    let follow = |Continued { candidate, progress, .. }: Continued| {
        let parent = &running[candidate.beam];
        let mut text = parent.text.fork(&parent.text.snapshot())?;
        text.hold(candidate.id);
        let ids = [&parent.ids[..], &[candidate.id]].concat();
        Ok(Beam { text, ids, sum: candidate.sum, progress })
    };
    next.into_iter().map(follow).collect()
}
