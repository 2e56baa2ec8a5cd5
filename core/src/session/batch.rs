//! Sequences that step together.

use super::{Input, Session};
use crate::backend::{Backend, Operand};
use crate::cache::{Extent, Kind, Pool, Version};
use crate::config::Dynamic;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::workspace::{Step, Workspace, take};
use crate::sample::Sampler;
use std::sync::Arc;

/// Steps over a token of each of several sessions: one submission, whatever their lengths. A product reads its weights once
/// for all of them.
///
/// A batch uses the workspace of the session that it was made from, and the two take turns.
pub struct Batch<B: Backend> {
    model: Arc<Model<B>>,
    pool: Arc<Pool<B>>,
    workspace: Workspace<B>,
}

/// A session's part in a step.
pub struct Turn<'a, B: Backend> {
    /// The session that steps.
    pub session: &'a mut Session<B>,
    /// The token to read, usually the one chosen last.
    pub token: u32,
    /// Chooses the token that follows.
    pub sampler: &'a mut Sampler,
}

impl<B: Backend> Session<B> {
    /// Steps of this session together with others over the same pool, of as many as `sequences`.
    ///
    /// # Errors
    /// `Config` for none or more than this session reads at a time; `OutOfMemory` for their logits.
    pub fn batch(&self, sequences: u32) -> Result<Batch<B>> {
        if self.model.config().bidirectional() {
            let reason = "an encoder reads a text in one step: there is no batch of tokens of several".into();
            return Err(Error::Config { reason });
        }
        let most = self.workspace.batch;
        if !(1..=most).contains(&sequences) {
            let reason = format!("a batch of {sequences} sequences, where a step reads at most {most} tokens");
            return Err(Error::Config { reason });
        }
        let (backend, vocab) = (self.model.backend(), self.model.config().vocab);
        let workspace = self.workspace.side_by_side(backend, sequences, vocab)?;
        Ok(Batch { model: self.model.clone(), pool: self.pool.clone(), workspace })
    }
}

impl<B: Backend> Batch<B> {
    /// Reads a token of each session and returns the tokens that follow, in that order. Sessions may come and go from one
    /// step to the next; no more than the batch has room for, and at least one.
    ///
    /// # Errors
    /// `Config` for too many or for a session over another pool, `ContextFull` or `OutOfPages` if a token does not fit: then
    /// nothing was read by any. `NotFinite` with the position of the first session whose logits hold NaN or infinity. After
    /// that, after an error of the device, and if the future is dropped before it ends, all sessions are as they were before
    /// the call.
    pub async fn next(&mut self, turns: &mut [Turn<'_, B>]) -> Result<Vec<u32>> {
        self.admit(turns)?;
        for turn in turns.iter() {
            turn.session.mark(&[turn.token], turn.sampler)?;
        }
        let mut unfinished = self.record(turns, true)?;
        let bytes = unfinished.turns.len() as u64 * 4;
        let bytes = self.model.backend().download(&self.workspace.ids, 0, bytes).await?;
        let ids: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        unfinished.turns.iter().zip(&ids).try_for_each(|(turn, &id)| turn.session.admit_choice(id))?;
        unfinished.before.clear();
        for (turn, &id) in unfinished.turns.iter_mut().zip(&ids) {
            turn.session.on_device = None;
            turn.session.chose(id, turn.sampler);
        }
        Ok(ids)
    }

    /// Reads a token of each session and returns the logits after it, `[turns, vocab]`. No sampler is asked: whoever called
    /// chooses, by rules that the device does not know.
    ///
    /// # Errors
    /// As [`next`](Self::next), but for `NotFinite`.
    pub async fn logits(&mut self, turns: &mut [Turn<'_, B>]) -> Result<Vec<f32>> {
        self.admit(turns)?;
        let mut unfinished = self.record(turns, false)?;
        let (backend, vocab) = (self.model.backend(), u64::from(self.model.config().vocab));
        let bytes = unfinished.turns.len() as u64 * vocab * 4;
        let bytes = backend.download(&self.workspace.logits, 0, bytes).await?;
        unfinished.before.clear();
        for turn in unfinished.turns.iter_mut() {
            turn.session.changed();
        }
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Takes the tokens in and records a step over them.
    fn record<'a, 't>(&mut self, turns: &'a mut [Turn<'t, B>], choose: bool) -> Result<Unfinished<'a, 't, B>> {
        let before: Vec<Version> = turns.iter().map(|turn| turn.session.version()).collect();
        let extents = extend(turns)?;
        let unfinished = Unfinished { turns, before };
        self.step(unfinished.turns, &extents, choose)?;
        Ok(unfinished)
    }

    fn admit(&self, turns: &[Turn<'_, B>]) -> Result<()> {
        let refused = |reason: String| Err(Error::Config { reason });
        if turns.is_empty() || turns.len() > self.workspace.batch as usize {
            return refused(format!("{} sessions in a batch of 1 to {}", turns.len(), self.workspace.batch));
        }
        for turn in turns {
            let session = &turn.session;
            if !Arc::ptr_eq(&session.pool, &self.pool) || !Arc::ptr_eq(&session.model, &self.model) {
                return refused("a session of another model or pool than the batch".into());
            }
            if session.context() > self.workspace.context {
                return refused(format!(
                    "a session of {} tokens in a batch of {}",
                    session.context(),
                    self.workspace.context
                ));
            }
            session.admit(Input::Tokens(&[turn.token]))?;
            let longer =
                |dynamic: Dynamic| session.sequence.stretched() != 0 || session.sequence.len() >= dynamic.original;
            if let Some(dynamic) = self.model.config().dynamic.filter(|dynamic| longer(*dynamic)) {
                let most = dynamic.original;
                return refused(format!(
                    "a session of more than {most} tokens in a batch: beyond them, keys rotate by each text's length (rope \
                     type dynamic), and such a session steps by itself"
                ));
            }
        }
        Ok(())
    }

    /// Records a step over the tokens that the sessions have taken in, and if asked what is chosen behind each.
    fn step(&mut self, turns: &mut [Turn<'_, B>], extents: &[Extent], choose: bool) -> Result<()> {
        let model = &self.model;
        let (backend, vocab, count) = (model.backend(), model.config().vocab, turns.len() as u32);
        let shared = self.workspace.turn();
        let _turn = take(&shared);
        for extent in extents {
            self.pool.apply(backend, &extent.moves)?;
        }
        let sequences = || turns.iter().map(|turn| &turn.session.sequence);
        let slots: Vec<u32> = sequences().map(|sequence| sequence.slot().unwrap_or(0)).collect();
        let keys: Vec<u32> = sequences().map(|sequence| sequence.len()).collect();
        let of_extents = |number: fn(&Extent) -> u32| extents.iter().map(number).collect::<Vec<_>>();
        let rows = |kind: usize| extents.iter().flat_map(|e| e.slots[kind].iter().copied()).collect::<Vec<_>>();
        let of_sequences = [&slots[..], &of_extents(|e| e.first), &keys].concat();
        let indices = [&of_extents(|e| e.positions[0])[..], &rows(0), &rows(1), &of_sequences];
        let all: Vec<_> = sequences().collect();
        self.workspace.indices(backend, indices, &all)?;
        let ids: Vec<u32> = turns.iter().map(|turn| turn.token).collect();
        backend.upload(&self.workspace.ids, 0, bytemuck::cast_slice(&model.config().stand_ins_of(&ids)))?;
        self.workspace.stretch(backend, model.config(), 0)?;
        self.workspace.upload_rows(backend, model.config(), Some(&ids), count)?;

        let w = &self.workspace;
        let mut to = |op, operands: &[Operand<'_, B>]| backend.run_positional(&op, operands);
        let keys = keys.into_iter().max().unwrap_or(0);
        let step = Step { tokens: count, keys, embedded: false, slots: &slots, observed: &[] };
        let stream = model.decoder().layers(&mut to, w, &self.pool, &step, &mut |_| {})?;
        model.decoder().logits(&mut to, w, stream, count)?;
        for (index, turn) in (0u64..).zip(turns) {
            turn.session.keep_states();
            if !choose {
                continue;
            }
            let spec = turn.sampler.next(vocab);
            let mut operands = vec![Operand::at(&w.logits, index * u64::from(vocab) * 4)];
            operands.extend((spec.penalty != 1.0).then_some(Operand::new(&turn.session.seen)));
            operands.push(Operand::at(&w.ids, index * 4));
            to(spec.into(), &operands)?;
        }
        Ok(())
    }
}

/// A step that has not ended: unless `before` was cleared, dropping it takes the sessions back to these versions.
struct Unfinished<'a, 't, B: Backend> {
    turns: &'a mut [Turn<'t, B>],
    before: Vec<Version>,
}

impl<B: Backend> Drop for Unfinished<'_, '_, B> {
    fn drop(&mut self) {
        let before = std::mem::take(&mut self.before);
        self.turns.iter_mut().zip(before).for_each(|(turn, version)| turn.session.undo(version));
    }
}

/// Room for the token of each; none has any if one has not.
fn extend<B: Backend>(turns: &mut [Turn<'_, B>]) -> Result<Vec<Extent>> {
    let mut extents = Vec::new();
    for i in 0..turns.len() {
        let turn = &mut turns[i];
        match turn.session.sequence.append(Kind::Text, &[turn.token]) {
            Ok(extent) => extents.push(extent),
            Err(error) => {
                let taken = turns.iter_mut().zip(extents);
                taken.for_each(|(turn, extent)| turn.session.sequence.withdraw(extent));
                return Err(error);
            }
        }
    }
    Ok(extents)
}
