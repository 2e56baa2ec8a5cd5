//! Reading: steps over pieces of an input, and the token that is chosen behind them.

use super::{Input, Observed, Session};
use crate::backend::{Backend, Operand};
use crate::cache::{Kind, NO_TOKEN, Version};
use crate::error::{Error, Result};
use crate::model::decoder::Stream;
use crate::model::workspace::{Step, Workspace, take};
use crate::sample::Sampler;
use foveate_kernels::sample::NOT_FINITE;
use std::borrow::Cow;

impl Input<'_> {
    /// Tokens, or rows of `dim` elements.
    pub(super) fn len(&self, dim: u32) -> usize {
        match self {
            Input::Tokens(ids) => ids.len(),
            Input::Embeddings(_, rows) => rows.len() / dim as usize,
        }
    }

    /// The tokens, if that is what it is.
    fn ids(&self) -> Option<&[u32]> {
        match self {
            Input::Tokens(ids) => Some(ids),
            Input::Embeddings(..) => None,
        }
    }

    pub(super) fn slice(&self, range: std::ops::Range<usize>, dim: u32) -> Self {
        match self {
            Input::Tokens(ids) => Input::Tokens(&ids[range]),
            Input::Embeddings(kind, rows) => {
                Input::Embeddings(*kind, &rows[range.start * dim as usize..range.end * dim as usize])
            }
        }
    }
}

/// A step that has not ended. Dropped before [`finish`](Self::finish), by an error or because the caller dropped its future,
/// it takes the session back to where the step began.
pub(super) struct Unfinished<'a, B: Backend> {
    pub(super) session: &'a mut Session<B>,
    before: Option<Version>,
}

impl<'a, B: Backend> Unfinished<'a, B> {
    pub(super) fn new(session: &'a mut Session<B>) -> Self {
        Self { before: Some(session.version()), session }
    }

    pub(super) fn finish(mut self) {
        self.before = None;
    }
}

impl<B: Backend> Drop for Unfinished<'_, B> {
    fn drop(&mut self) {
        if let Some(version) = self.before {
            self.session.undo(version);
        }
    }
}

impl<B: Backend> Session<B> {
    pub(super) async fn choose(&mut self, input: Input<'_>, sampler: &mut Sampler) -> Result<u32> {
        self.admit(input)?;
        let model = self.model.clone();
        let (backend, vocab) = (model.backend(), model.config().vocab);
        let ids = if let Input::Tokens(ids) = input { ids } else { &[] };
        self.mark(ids, sampler)?;
        let (seen, batch, timing) = (self.seen.clone(), self.workspace.batch, self.timing.clone());
        self.pieces(input, batch, |w, stream, last| {
            if !last {
                return backend.submit();
            }
            let mut to = |op, operands: &[Operand<'_, B>]| timing.run(backend, &op, operands);
            model.decoder().logits(&mut to, w, stream, 1)?;
            let spec = sampler.next(vocab);
            let mut operands = vec![Operand::new(&w.logits)];
            if spec.penalty != 1.0 {
                operands.push(Operand::new(&seen));
            }
            operands.push(Operand::new(&w.ids));
            to(spec.into(), &operands)
        })?;
        self.on_device = None;
        let bytes = backend.download(&self.workspace.ids, 0, 4).await?;
        let id = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.admit_choice(id)?;
        self.on_device = Some(id);
        self.chose(id, sampler);
        Ok(id)
    }

    /// See [`next_each`](Session::next_each).
    pub(super) async fn choose_each(&mut self, tokens: &[u32], sampler: &mut Sampler) -> Result<Vec<u32>> {
        let (input, most) = (Input::Tokens(tokens), self.most_chosen());
        self.admit(input)?;
        if tokens.len() > most as usize {
            let reason = format!("{} tokens to choose behind, where a step has room for {most}", tokens.len());
            return Err(Error::Config { reason });
        }
        let model = self.model.clone();
        let (backend, vocab) = (model.backend(), model.config().vocab);
        // The op marks what it chooses: the tokens behind the first one, as far as they are chosen.
        self.mark(&tokens[..1], sampler)?;
        let (seen, timing) = (self.seen.clone(), self.timing.clone());
        self.pieces(input, most, |w, stream, _| {
            let mut to = |op, operands: &[Operand<'_, B>]| timing.run(backend, &op, operands);
            model.decoder().logits(&mut to, w, stream, stream.tokens)?;
            for row in 0..u64::from(stream.tokens) {
                let spec = sampler.next(vocab);
                let mut operands = vec![Operand::at(&w.logits, row * u64::from(vocab) * 4)];
                operands.extend((spec.penalty != 1.0).then_some(Operand::new(&seen)));
                operands.push(Operand::at(&w.ids, row * 4));
                to(spec.into(), &operands)?;
            }
            Ok(())
        })?;
        self.on_device = None;
        let bytes = backend.download(&self.workspace.ids, 0, tokens.len() as u64 * 4).await?;
        let mut ids: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        self.admit_choice(ids[0])?;
        // A later token that can't be chosen is met again, if the text leads there.
        let finite = ids.iter().position(|id| *id == NOT_FINITE).unwrap_or(ids.len());
        ids.truncate(finite);
        self.marked = None;
        Ok(ids)
    }

    /// Refuses what cannot be read, before anything changes.
    pub(super) fn admit(&self, input: Input<'_>) -> Result<()> {
        let dim = self.model.config().dim;
        match input {
            Input::Tokens(ids) => self.admit_ids(ids)?,
            Input::Embeddings(kind, rows) => {
                let whole = rows.len().is_multiple_of(dim as usize) && kind != Kind::Text;
                let bad = |reason: String| Error::Embeddings { reason };
                if !whole {
                    return Err(bad(format!("{} elements as {}, in rows of {dim}", rows.len(), kind.name())));
                }
                if let Some(at) = rows.iter().position(|x| !x.is_finite()) {
                    return Err(bad(format!("element {at} is {}", rows[at])));
                }
            }
        }
        let count = input.len(dim);
        if count == 0 {
            return Err(Error::EmptyPrompt);
        }
        // Positions may run ahead of tokens where a segment was taken out; both have to fit.
        let before = self.sequence.next_position().max(self.sequence.len());
        let total = u64::from(before) + count as u64;
        if before > 0 && self.model.config().bidirectional() {
            return Err(Error::Config {
                reason: format!(
                    "{} reads a text in one step, since tokens see those behind them: nothing goes on from the {before} \
                     tokens that were read; roll the session back to 0 tokens first",
                    self.model.config().architecture
                ),
            });
        }
        if total > self.workspace.context.into() {
            return Err(Error::ContextFull { tokens: total, context: self.workspace.context.into() });
        }
        self.sequence.room(count as u32)
    }

    /// Reads again what was read before, where its rotation depends on the length that the text has with `input`.
    ///
    /// # Errors
    /// As [`admit`](Self::admit); `Config` where embeddings or what stood behind a removed segment would have to be read
    /// again. Then nothing has changed.
    pub(super) fn stretch(&mut self, input: Input<'_>) -> Result<()> {
        let Some(dynamic) = self.model.config().dynamic else { return Ok(()) };
        self.admit(input)?;
        let (len, position) = (self.sequence.len(), self.sequence.next_position());
        let total = len.max(position) + input.len(self.model.config().dim) as u32;
        let length = if total > dynamic.original { total } else { 0 };
        if len == 0 || self.sequence.stretched() == length {
            self.sequence.stretch(length);
            return Ok(());
        }
        let tokens = self.tokens().to_vec();
        if position != len || tokens.contains(&NO_TOKEN) {
            let reason = format!(
                "a text of {total} tokens rotates all keys anew beyond {} (rope type dynamic), and embeddings or what stood \
                 behind a removed segment are not read again",
                dynamic.original
            );
            return Err(Error::Config { reason });
        }
        self.forget(0)?;
        self.sequence.stretch(length);
        self.reread(&tokens)
    }

    pub(super) fn admit_ids(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.model.config().vocab;
        let first = self.model.config().first_unread.unwrap_or(vocab);
        if let Some(id) = ids.iter().find(|id| (first..vocab).contains(*id)) {
            let reason = format!("token {id} stands for what is seen or heard, which is not read here");
            return Err(Error::Tokenizer { reason });
        }
        match ids.iter().find(|id| **id >= vocab) {
            Some(id) => Err(Error::Tokenizer { reason: format!("token {id} is outside of the vocabulary of {vocab}") }),
            None => Ok(()),
        }
    }

    /// Records steps over pieces of `batch` at most, with `then(workspace, stream, last)` behind each.
    pub(super) fn pieces(
        &mut self,
        input: Input<'_>,
        batch: u32,
        mut then: impl FnMut(&Workspace<B>, Stream, bool) -> Result<()>,
    ) -> Result<()> {
        let dim = self.model.config().dim;
        let count = input.len(dim);
        let shared = self.workspace.turn();
        let _turn = take(&shared);
        for start in (0..count).step_by(batch as usize) {
            let end = count.min(start + batch as usize);
            self.record(input.slice(start..end, dim), |w, stream| then(w, stream, end == count))?;
        }
        Ok(())
    }

    /// Records the layers over one piece, and `then`.
    pub(super) fn record(
        &mut self,
        input: Input<'_>,
        then: impl FnOnce(&Workspace<B>, Stream) -> Result<()>,
    ) -> Result<()> {
        let model = self.model.clone();
        let (backend, dim) = (model.backend(), model.config().dim);
        let tokens = input.len(dim) as u32;
        let extent = match input {
            Input::Tokens(ids) => self.sequence.append(Kind::Text, ids)?,
            Input::Embeddings(kind, _) => self.sequence.append(kind, &vec![NO_TOKEN; tokens as usize])?,
        };
        self.pool.apply(backend, &extent.moves)?;
        let state = self.sequence.slot().map(|slot| [slot, extent.first]);
        let [all, windowed] = &extent.slots;
        let positions = positions(model.config().padding, input, &extent.positions);
        let indices = [&positions[..], all, windowed, state.as_slice().as_flattened()];
        self.workspace.indices(backend, indices, &[&self.sequence])?;
        let chosen = self.on_device.take();
        match input {
            // The token that the last step chose is already there.
            Input::Tokens([id]) if chosen == Some(*id) && model.config().stand_in(*id) == *id => {}
            Input::Tokens(ids) => {
                backend.upload(&self.workspace.ids, 0, bytemuck::cast_slice(&model.config().stand_ins_of(ids)))?;
            }
            Input::Embeddings(_, rows) => {
                // The stream is divided by this factor, so that branches need not be multiplied by it.
                let scale = model.config().branch_scale;
                let rows: Cow<'_, [f32]> =
                    if scale == 1.0 { rows.into() } else { rows.iter().map(|x| x / scale).collect() };
                backend.upload(&self.workspace.x, 0, bytemuck::cast_slice(&rows))?;
            }
        }
        self.workspace.stretch(backend, model.config(), self.sequence.stretched())?;
        self.workspace.upload_rows(backend, model.config(), input.ids(), tokens)?;
        if let (Some(distances), Some(biases)) = (&model.decoder().distances, &self.workspace.biases) {
            distances.upload(backend, biases, tokens)?;
        }
        let timing = &self.timing;
        let mut to = |op, operands: &[Operand<'_, B>]| timing.run(backend, &op, operands);
        let embedded = matches!(input, Input::Embeddings(..));
        let slots = [self.sequence.slot().unwrap_or(0)];
        let mut observer = self.observer.as_mut();
        let observed = observer.as_ref().map_or(Vec::new(), |o| o.layers().to_vec());
        let step = Step { tokens, keys: self.sequence.len(), embedded, slots: &slots, observed: &observed };
        let rows = &self.workspace.x;
        let mut seen = |layer| {
            if let Some(observer) = &mut observer {
                observer.observe(backend, Observed { layer, first: extent.first, tokens, rows });
            }
        };
        let stream = model.decoder().layers(&mut to, &self.workspace, &self.pool, &step, &mut seen)?;
        self.keep_states();
        then(&self.workspace, stream)
    }

    /// Keeps the states at every so many tokens.
    pub(super) fn keep_states(&mut self) {
        let last = self.sequence.checkpoints().last().unwrap_or(0);
        if self.sequence.has_states() && self.sequence.len() - last >= self.interval {
            self.sequence.checkpoint();
        }
    }

    /// Refuses what the op `sample` writes where no token can be chosen.
    pub(super) fn admit_choice(&self, id: u32) -> Result<()> {
        match id {
            NOT_FINITE => Err(Error::NotFinite { position: self.sequence.len().into() }),
            _ => Ok(()),
        }
    }

    /// Records the token that a step chose. If the sampler penalises, it is marked as seen.
    pub(super) fn chose(&mut self, id: u32, sampler: &Sampler) {
        self.marked = sampler.penalises().then_some((self.tokens().len(), id));
    }

    /// Marks tokens for the repetition penalty, if the sampler has one: all that the session has read, and `more`, unless
    /// that is what the last step chose.
    pub(super) fn mark(&self, more: &[u32], sampler: &Sampler) -> Result<()> {
        let known = self.marked.is_some_and(|(read, id)| read == self.tokens().len() && more == [id]);
        if known || !sampler.penalises() {
            return Ok(());
        }
        let mut bits = vec![0u32; self.model.config().vocab.div_ceil(32) as usize];
        let ids = self.tokens().iter().chain(more).filter(|id| **id != NO_TOKEN);
        ids.for_each(|&id| bits[id as usize / 32] |= 1 << (id % 32));
        self.model.backend().upload(&self.seen, 0, bytemuck::cast_slice(&bits))
    }
}

/// Returns the row of each token in a table of learned positions: its position in the text.
///
/// With a `padding` id, the row is the number of tokens up to it that are not padding, and 0 for padding itself.
fn positions<'a>(padding: Option<u32>, input: Input<'_>, places: &'a [u32]) -> Cow<'a, [u32]> {
    let Some(padding) = padding else { return places.into() };
    let mut counted = 0;
    let mut count = |real: bool| {
        counted += u32::from(real);
        if real { counted } else { 0 }
    };
    match input {
        Input::Tokens(ids) => ids.iter().map(|id| count(*id != padding)).collect(),
        Input::Embeddings(..) => places.iter().map(|_| count(true)).collect(),
    }
}
