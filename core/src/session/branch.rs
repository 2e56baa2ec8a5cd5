//! Going back, going on twice, and taking parts out.

use super::{RollbackTarget, Session};
use crate::backend::Backend;
use crate::cache::{Moves, Prefix, SegmentId, Sequence, Snapshot, Version};
use crate::error::{Error, Result};

impl<B: Backend> Session<B> {
    /// The sequence as it is now, for others to read or to go on from.
    ///
    /// Cost: a count, at any length.
    pub fn snapshot(&self) -> Snapshot<B> {
        Snapshot { pool: self.pool.clone(), sequence: self.sequence.clone() }
    }

    /// A second session that goes on from here. It holds the same pages, and takes pages of its own as it writes.
    ///
    /// # Errors
    /// `OutOfMemory` for the few numbers that it tells the device.
    pub fn fork(&self) -> Result<Self> {
        self.fork_at(&self.snapshot())
    }

    /// A second session that goes on from a snapshot of this pool.
    ///
    /// # Errors
    /// As [`fork`](Self::fork); `Config` for a snapshot of another pool, `ContextFull` for one that is longer than this
    /// session may be.
    pub fn fork_at(&self, snapshot: &Snapshot<B>) -> Result<Self> {
        if !std::sync::Arc::ptr_eq(&self.pool, &snapshot.pool) {
            return Err(Error::Config { reason: "a snapshot of another pool".into() });
        }
        if snapshot.len() > self.context() {
            return Err(Error::ContextFull { tokens: snapshot.len().into(), context: self.context().into() });
        }
        let backend = self.model.backend();
        Ok(Self {
            model: self.model.clone(),
            pool: self.pool.clone(),
            sequence: snapshot.sequence.clone(),
            workspace: self.workspace.fork(backend)?,
            seen: backend.alloc("seen", u64::from(self.model.config().vocab.div_ceil(32)) * 4)?,
            marked: None,
            on_device: None,
            observer: None,
            timing: Default::default(),
            interval: self.interval,
            checking: false,
        })
    }

    /// Forgets what came after.
    ///
    /// # Errors
    /// `NoSuchVersion` for one that this sequence does not have in its past; `Rollback` for a length that it can't go back
    /// to exactly, with the nearest one that it can and how many tokens would be read again. Then nothing has changed.
    ///
    /// Cost: no work of the device.
    pub fn rollback(&mut self, to: RollbackTarget) -> Result<()> {
        let len = match to {
            RollbackTarget::Len(len) => len,
            RollbackTarget::Version(version) => {
                self.sequence.len_at(version).ok_or(Error::NoSuchVersion { version: version.number() })?
            }
        };
        let nearest = self.sequence.len();
        if len > nearest {
            return Err(Error::Rollback { to: len, nearest, replay: len - nearest });
        }
        self.forget(len)
    }

    /// Forgets the tokens from `len` on, and where the sequence can't go back there, reads again what leads there.
    ///
    /// # Errors
    /// `Rollback` for a length that it never had, or where embeddings or what stood behind a removed segment would have to be
    /// read again; then nothing has changed. What reading gives.
    pub fn rewind(&mut self, len: u32) -> Result<()> {
        let nearest = self.sequence.nearest(len);
        match self.sequence.again(len).map(<[u32]>::to_vec) {
            Some(again) => {
                self.forget(nearest)?;
                if again.is_empty() { Ok(()) } else { self.reread(&again) }
            }
            None => Err(Error::Rollback { to: len, nearest, replay: len.saturating_sub(nearest) }),
        }
    }

    /// Keeps the states of layers that have any, and what windows see, so that a rollback to this length is exact. Where
    /// there are states that is done [every so many](Self::checkpoint_every) tokens anyway; where slots or pages run out, the
    /// oldest are given up.
    pub fn checkpoint(&mut self) {
        self.sequence.checkpoint();
    }

    /// Keeps the states for the time of a step whose tokens may be taken back, until [`forget_check`](Self::forget_check).
    pub(super) fn checkpoint_to_check(&mut self) {
        self.checking = !self.sequence.checkpoints().any(|at| at == self.sequence.len());
        self.checkpoint();
    }

    /// Gives up what was kept at `len` for a step, if it was kept for that alone.
    pub(super) fn forget_check(&mut self, len: u32) {
        if std::mem::take(&mut self.checking) {
            self.sequence.forget_checkpoint(len);
        }
    }

    /// Checkpoints every so many tokens from now on, between two steps: [`CHECKPOINT`](crate::cache::CHECKPOINT) at first,
    /// as many of them as there are slots for.
    pub fn checkpoint_every(&mut self, tokens: u32) {
        self.interval = tokens.max(1);
    }

    /// Takes a segment out of the sequence. What stands behind it keeps its positions and what it has read of the segment;
    /// its rows move up, so windows count without it.
    ///
    /// # Errors
    /// `NoSuchSegment`; `OutOfPages` for as many pages as stand behind it; `Rollback` where there are states, or where a
    /// window would then see what is given up. Then nothing has changed.
    pub fn remove(&mut self, segment: SegmentId) -> Result<()> {
        self.cut(|sequence| sequence.remove(segment))
    }

    /// Keeps the first `sinks` tokens and the last `recent` ones, as a way to go on in a bounded cache. Positions stay as
    /// they were, so the session's context bounds what it reads all the same.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn evict(&mut self, sinks: u32, recent: u32) -> Result<()> {
        self.cut(|sequence| sequence.evict(sinks, recent))
    }

    fn cut(&mut self, cut: impl FnOnce(&mut Sequence) -> Result<Moves>) -> Result<()> {
        let before = self.sequence.clone();
        let moves = cut(&mut self.sequence)?;
        let moved = self.pool.apply(self.model.backend(), &moves);
        match moved {
            Ok(()) => self.changed(),
            Err(_) => self.sequence = before,
        }
        moved
    }

    /// How much of `tokens` the session has read already, and where it can go back to for the rest.
    pub fn best_prefix(&self, tokens: &[u32]) -> Prefix {
        self.sequence.best_prefix(tokens)
    }

    /// Back to a version that it had, after an error: where states are not kept for it, what is missing is read again.
    pub(super) fn undo(&mut self, version: Version) {
        let Some(len) = self.sequence.len_at(version) else { return };
        let (nearest, again) = (self.sequence.nearest(len), self.sequence.again(len).map(<[u32]>::to_vec));
        // An error here is the error that led here: the session holds less, and says so.
        let _ = self.forget(nearest);
        if let Some(again) = again.filter(|tokens| !tokens.is_empty()) {
            let _ = self.reread(&again);
        }
    }

    pub(super) fn forget(&mut self, len: u32) -> Result<()> {
        self.sequence.truncate(len)?;
        self.changed();
        Ok(())
    }

    /// Discards the device's record of the last step.
    pub(super) fn changed(&mut self) {
        self.marked = None;
        self.on_device = None;
    }
}
