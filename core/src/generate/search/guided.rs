//! Classifier-free guidance.

use super::lanes::{Cost, Lanes, log_softmax};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::generate::admit::{DRAFTS, REASONING, REPLAY, admit};
use crate::generate::{Decode, Finish, Generation, Piece, Timing, Usage};
use crate::sample::in_range;
use crate::session::Buffered;

/// A generation that a second prompt pushes away: classifier-free guidance (2306.17806).
///
/// ```text
/// z = w + scale (s - w)      s, w: log softmax behind the prompt, and behind the negative prompt
/// ```
/// Both sequences read every token of the answer, in one step. All else follows from `z` as it would from logits: penalties,
/// filters, constraints and log-probabilities. A scale of 1 is plain decoding; 1.5 is usual.
pub struct Guided<B: Backend> {
    decode: Decode,
    text: Buffered<B>,
    other: Buffered<B>,
    lanes: Lanes<B>,
    scale: f32,
}

impl<B: Backend> Guided<B> {
    /// Begins a generation behind the tokens of `text`, away from what follows the tokens of `negative`; without any, away
    /// from what follows the last token of `text` alone, as in transformers. The pool of the session needs room for both.
    ///
    /// # Errors
    /// `OutOfRange` for a scale that is not finite; `Setting` for drafts, a reasoning budget and replayed tokens; as [`Decode::new`] and
    /// [`Buffered::set_tokens`].
    pub fn new(mut text: Buffered<B>, negative: &[u32], scale: f32, options: &Generation) -> Result<Self> {
        admit("guidance", options, &[DRAFTS, REASONING, REPLAY])?;
        in_range("guidance", scale, f32::MIN, f32::MAX)?;
        let decode = Decode::new(&mut text, options)?;
        let tokens = text.tokens();
        let mut other = Buffered::new(text.session().fork()?);
        other.set_tokens(if negative.is_empty() { &tokens[tokens.len().saturating_sub(1)..] } else { negative })?;
        let lanes = Lanes::new(&text, 2)?;
        Ok(Self { decode, text, other, lanes, scale })
    }

    /// Generates the next piece; `None` behind the end. See [`Decode::step`].
    ///
    /// # Errors
    /// As [`Decode::step`].
    pub async fn step(&mut self) -> Result<Option<Piece>> {
        if self.decode.finish().is_some() {
            return Ok(None);
        }
        self.decode.begin();
        if let Some(finish) = self.decode.bound(&mut self.text)? {
            return Ok(self.decode.end(finish));
        }
        if self.other.session().room() < self.other.pending().len() as u32 {
            return Ok(self.decode.end(Finish::Context));
        }
        for text in [&mut self.text, &mut self.other] {
            if !self.decode.read_prompt(text, 1).await? {
                return Ok(self.decode.end(Finish::Cancelled));
            }
        }
        let mut rows = self.lanes.rows(&mut [&mut self.text, &mut self.other]).await?.into_iter();
        let (Some(with), Some(without)) = (rows.next(), rows.next()) else {
            return Err(Error::device("a step gave fewer rows than it read"));
        };
        let token = self.decode.weigh_one(&mut self.text, merged(with, &without, self.scale))?;
        self.other.hold(token.id);
        self.decode.accept(&mut self.text, token)
    }

    /// Generates to the end and returns the text.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        while let Some(piece) = self.step().await? {
            text.push_str(&piece.text);
        }
        Ok(text)
    }

    /// Why the generation ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        self.decode.finish()
    }

    /// Tokens so far; those of the negative prompt are not among them.
    pub fn usage(&self) -> Usage {
        self.decode.usage()
    }

    /// The times up to now.
    pub fn timing(&self) -> Timing {
        self.decode.timing()
    }

    /// See [`Decode::surprise_bits`].
    pub fn surprise_bits(&self) -> Option<f64> {
        self.decode.surprise_bits()
    }

    /// Steps and tokens behind the prompts.
    pub fn cost(&self) -> Cost {
        self.lanes.cost
    }
}

/// `w + scale (s - w)` of two rows of logits. If no token can be chosen from one of them, the result is NaN, which the choice
/// refuses with the position.
fn merged(with: Vec<f32>, without: &[f32], scale: f32) -> Vec<f32> {
    use foveate_kernels::sample::choosable;
    if !choosable(&with) || !choosable(without) {
        return vec![f32::NAN; with.len()];
    }
    let each = log_softmax(&with).into_iter().zip(log_softmax(without));
    each.map(|(s, w)| if s == f32::NEG_INFINITY { s } else { w + scale * (s - w) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guidance_of_1_leaves_the_distribution() {
        let (with, without) = (vec![1.0, -2.0, 0.5], [0.0, 3.0, 1.0]);
        let same = merged(with.clone(), &without, 1.0);
        assert!(same.iter().zip(log_softmax(&with)).all(|(a, b)| (a - b).abs() < 1e-6), "{same:?}");
        // Written out: (s - w) doubled.
        let (s, w) = (log_softmax(&with), log_softmax(&without));
        let twice = merged(with, &without, 2.0);
        assert!((0..3).all(|i| (twice[i] - (2.0 * s[i] - w[i])).abs() < 1e-6), "{twice:?}");
        assert!(merged(vec![f32::NAN, 0.0], &[0.0, 0.0], 2.0).iter().all(|z| z.is_nan()));
    }
}
