//! Rows that a session reads back: logits, hidden states and embeddings.

use super::read::Unfinished;
use super::{Input, LOGIT_ROWS, Session};
use crate::backend::{Backend, Operand};
use crate::error::Result;
use crate::model::decoder::Stream;
use crate::model::workspace::take;
use crate::send::MaybeSend;
use crate::weights::BoxFuture;
use std::mem;

/// Takes rows of a session; an error ends the reading.
#[cfg(not(target_arch = "wasm32"))]
pub(super) type Rows<'a> = dyn FnMut(&[f32]) -> Result<()> + Send + 'a;
#[cfg(target_arch = "wasm32")]
pub(super) type Rows<'a> = dyn FnMut(&[f32]) -> Result<()> + 'a;

impl<B: Backend> Session<B> {
    /// Reads `tokens` and gives the logits after each of them, `[rows, vocab]` at a time.
    ///
    /// # Errors
    /// As [`next`](Session::next).
    pub async fn logits(&mut self, tokens: &[u32], rows: impl FnMut(&[f32]) + MaybeSend) -> Result<()> {
        self.logits_after(Input::Tokens(tokens), rows).await
    }

    /// As [`logits`](Self::logits), after tokens or embeddings.
    pub async fn logits_after(&mut self, input: Input<'_>, mut rows: impl FnMut(&[f32]) + MaybeSend) -> Result<()> {
        let mut rows = |given: &[f32]| {
            rows(given);
            Ok(())
        };
        self.rows(input, true, &mut rows).await
    }

    /// Reads `input` and gives what the final norm makes of each of its rows, `[rows, dim]` at a time.
    ///
    /// # Errors
    /// As [`next`](Session::next).
    pub async fn hidden(&mut self, input: Input<'_>, mut rows: impl FnMut(&[f32]) + MaybeSend) -> Result<()> {
        let mut rows = |given: &[f32]| {
            rows(given);
            Ok(())
        };
        self.rows(input, false, &mut rows).await
    }

    /// Reads `tokens` and returns their hidden states behind the final norm, `[tokens, dim]`, and the logits after the last
    /// one.
    ///
    /// # Errors
    /// As [`next`](Session::next).
    pub async fn states_and_logits(&mut self, tokens: &[u32]) -> Result<(Vec<f32>, Vec<f32>)> {
        self.states_and_logits_after(Input::Tokens(tokens)).await
    }

    /// As [`states_and_logits`](Self::states_and_logits), of tokens or embeddings.
    pub(crate) async fn states_and_logits_after(&mut self, input: Input<'_>) -> Result<(Vec<f32>, Vec<f32>)> {
        self.admit(input)?;
        self.stretch(input)?;
        let step = Unfinished::new(self);
        let given = step.session.states_of_pieces(input).await?;
        step.finish();
        Ok(given)
    }

    async fn states_of_pieces(&mut self, input: Input<'_>) -> Result<(Vec<f32>, Vec<f32>)> {
        let (model, timing) = (self.model.clone(), self.timing.clone());
        let (decoder, backend, config) = (model.decoder(), model.backend(), model.config());
        let count = input.len(config.dim);
        let piece = if config.bidirectional() { count } else { self.workspace.batch as usize };
        let (mut hidden, mut row) = (Vec::new(), Vec::new());
        for start in (0..count).step_by(piece.max(1)) {
            let read = count.min(start + piece);
            let part = input.slice(start..read, config.dim);
            let shared = self.workspace.turn();
            let turn = take(&shared);
            let mut stream = Stream::settled(0);
            self.record(part, |_, of| {
                stream = of;
                Ok(())
            })?;
            let w = &self.workspace;
            let mut to = |op, operands: &[Operand<'_, B>]| timing.run(backend, &op, operands);
            decoder.settle(&mut to, w, &mut stream)?;
            let bytes = (read - start) as u64 * u64::from(config.dim) * 4;
            let states = backend.download(decoder.hidden(&mut to, w, stream)?, 0, bytes);
            let logits = if read == count {
                decoder.logits(&mut to, w, stream, 1)?;
                Some(backend.download(&w.logits, 0, u64::from(config.vocab) * 4))
            } else {
                None
            };
            mem::drop(turn);
            hidden.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&states.await?));
            if let Some(logits) = logits {
                row = bytemuck::pod_collect_to_vec(&logits.await?);
            }
        }
        // The norm in front of the head takes the factor of logits along.
        if config.logit_scale != 1.0 {
            hidden.iter_mut().for_each(|x| *x /= config.logit_scale);
        }
        Ok((hidden, row))
    }

    /// Reads `input` and gives logits (`head`) or what the final norm makes of each row; an error of `rows` ends it.
    // The future is boxed, so that a crate that asks for rows calls this function and does not compile the step again.
    pub(super) fn rows<'a>(
        &'a mut self,
        input: Input<'a>,
        head: bool,
        rows: &'a mut Rows<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.admit(input)?;
            self.stretch(input)?;
            let step = Unfinished::new(self);
            step.session.all_rows(input, head, rows).await?;
            step.finish();
            Ok(())
        })
    }

    async fn all_rows(&mut self, input: Input<'_>, head: bool, rows: &mut Rows<'_>) -> Result<()> {
        let model = self.model.clone();
        let (decoder, backend, dim) = (model.decoder(), model.backend(), model.config().dim);
        let width = u64::from(if head { model.config().vocab } else { dim });
        let (piece, timing) = (LOGIT_ROWS.min(self.workspace.batch) as usize, self.timing.clone());
        let count = input.len(dim);
        if model.config().bidirectional() {
            return self.rows_of_whole(input, head, rows).await;
        }
        for start in (0..count).step_by(piece) {
            let part = input.slice(start..count.min(start + piece), dim);
            let shared = self.workspace.turn();
            let turn = take(&shared);
            let mut from = self.workspace.logits.clone();
            self.record(part, |w, stream| {
                let mut to = |op, operands: &[Operand<'_, B>]| timing.run(backend, &op, operands);
                if head {
                    decoder.logits(&mut to, w, stream, stream.tokens)
                } else {
                    decoder.hidden(&mut to, w, stream).map(|at| from = at.clone())
                }
            })?;
            let bytes = part.len(dim) as u64 * width * 4;
            let download = backend.download(&from, 0, bytes);
            // It is submitted: others may use the workspace again.
            mem::drop(turn);
            let mut values = bytemuck::pod_collect_to_vec::<u8, f32>(&download.await?);
            // The norm in front of the head takes the factor of logits along.
            let factor = if head { 1.0 } else { model.config().logit_scale };
            if factor != 1.0 {
                values.iter_mut().for_each(|x| *x /= factor);
            }
            rows(&values)?;
        }
        Ok(())
    }

    /// As [`all_rows`](Self::all_rows), of a text that is read in one step.
    async fn rows_of_whole(&mut self, input: Input<'_>, head: bool, rows: &mut Rows<'_>) -> Result<()> {
        let (model, timing) = (self.model.clone(), self.timing.clone());
        let (decoder, backend, dim) = (model.decoder(), model.backend(), model.config().dim);
        let shared = self.workspace.turn();
        let turn = take(&shared);
        let mut stream = Stream::settled(0);
        self.record(input, |_, of| {
            stream = of;
            Ok(())
        })?;
        let w = &self.workspace;
        let mut to = |op, operands: &[Operand<'_, B>]| timing.run(backend, &op, operands);
        let mut downloads = Vec::new();
        if head {
            decoder.settle(&mut to, w, &mut stream)?;
            for start in (0..stream.tokens).step_by(LOGIT_ROWS as usize) {
                let end = stream.tokens.min(start + LOGIT_ROWS);
                decoder.logits(&mut to, w, Stream::settled(end), end - start)?;
                let bytes = u64::from(end - start) * u64::from(model.config().vocab) * 4;
                downloads.push(backend.download(&w.logits, 0, bytes));
            }
        } else {
            let bytes = u64::from(stream.tokens) * u64::from(dim) * 4;
            downloads.push(backend.download(decoder.hidden(&mut to, w, stream)?, 0, bytes));
        }
        mem::drop(turn);
        for download in downloads {
            rows(&bytemuck::pod_collect_to_vec::<u8, f32>(&download.await?))?;
        }
        Ok(())
    }

    /// Returns the vectors `[tokens, dim]` that the first layer gets for `tokens`, without learned positions.
    ///
    /// # Errors
    /// `Tokenizer` for ids outside of the vocabulary.
    pub async fn embeddings(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.admit_ids(tokens)?;
        let (model, mut rows) = (self.model.clone(), Vec::new());
        let backend = model.backend();
        self.on_device = None;
        for piece in model.config().stand_ins_of(tokens).chunks(self.workspace.batch as usize) {
            backend.upload(&self.workspace.ids, 0, bytemuck::cast_slice(piece))?;
            let shared = self.workspace.turn();
            let turn = take(&shared);
            let mut to = |op, operands: &[Operand<'_, B>]| backend.run_positional(&op, operands);
            model.decoder().embed_ids(&mut to, &self.workspace, piece.len() as u32)?;
            let bytes = piece.len() as u64 * u64::from(model.config().dim) * 4;
            let download = backend.download(&self.workspace.x, 0, bytes);
            mem::drop(turn);
            rows.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&download.await?));
        }
        // The stream is divided by this factor.
        let factor = model.config().branch_scale;
        if factor != 1.0 {
            rows.iter_mut().for_each(|x| *x *= factor);
        }
        Ok(rows)
    }
}
