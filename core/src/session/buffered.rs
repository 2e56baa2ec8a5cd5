//! A session with a buffer of tokens that it has not read yet.

use super::{Input, RollbackTarget, Session};
use crate::backend::Backend;
use crate::cache::{Kind, NO_TOKEN, Snapshot};
use crate::error::{Error, Result};
use crate::sample::Sampler;

/// A session behind a buffer of tokens that were appended and not read yet.
///
/// The last token of a text always waits in the buffer: a step reads it and chooses what follows. So tokens can be appended,
/// rolled back and generated from in any order.
pub struct Buffered<B: Backend> {
    session: Session<B>,
    pending: Vec<u32>,
}

/// Consecutive tokens of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The kind of the tokens.
    pub kind: Kind,
    /// The number of its first token.
    pub start: u32,
    /// The number of tokens.
    pub len: u32,
    /// The position of its first token.
    pub position: u32,
}

/// A [`Buffered`] session as it was at one moment.
pub struct BufferedSnapshot<B: Backend> {
    snapshot: Snapshot<B>,
    pending: Vec<u32>,
}

impl<B: Backend> BufferedSnapshot<B> {
    /// Tokens, read and waiting.
    pub fn len(&self) -> u32 {
        self.snapshot.len() + self.pending.len() as u32
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<B: Backend> Buffered<B> {
    /// Wraps a session, with nothing waiting.
    pub fn new(session: Session<B>) -> Self {
        Self { session, pending: Vec::new() }
    }

    /// The session, which has read all but the tokens that wait.
    pub fn session(&self) -> &Session<B> {
        &self.session
    }

    /// The session, to splice into it or to observe it. Whatever is read through it goes before the tokens that wait.
    pub fn session_mut(&mut self) -> &mut Session<B> {
        &mut self.session
    }

    /// The session; tokens that wait are gone.
    pub fn into_session(self) -> Session<B> {
        self.session
    }

    /// Tokens, read and waiting.
    pub fn len(&self) -> u32 {
        (self.session.tokens().len() + self.pending.len()) as u32
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens that wait.
    pub fn pending(&self) -> &[u32] {
        &self.pending
    }

    /// Every token, read and waiting, with [`NO_TOKEN`] where an embedding stands.
    pub fn tokens(&self) -> Vec<u32> {
        [self.session.tokens(), &self.pending].concat()
    }

    /// The segments of the session, the waiting tokens among them.
    pub fn spans(&self) -> Vec<Span> {
        let span = |s: &crate::cache::Segment| Span { kind: s.kind, start: s.start, len: s.len, position: s.position };
        let mut spans: Vec<Span> = self.session.segments().iter().map(span).collect();
        let waiting = self.pending.len() as u32;
        match spans.last_mut() {
            _ if waiting == 0 => {}
            Some(last) if last.kind == Kind::Text => last.len += waiting,
            last => {
                let (start, position) = last.map_or((0, 0), |s| (s.start + s.len, s.position + s.len));
                spans.push(Span { kind: Kind::Text, start, len: waiting, position });
            }
        }
        spans
    }

    /// Puts tokens behind the others.
    ///
    /// # Errors
    /// `Tokenizer` for ids outside of the vocabulary, `ContextFull` if they do not fit; then nothing was appended.
    pub fn append(&mut self, ids: &[u32]) -> Result<()> {
        self.session.admit_ids(ids)?;
        let (room, context) = (u64::from(self.session.room()), u64::from(self.session.context()));
        let wanted = self.pending.len() as u64 + ids.len() as u64;
        if wanted > room {
            return Err(Error::ContextFull { tokens: context - room + wanted, context });
        }
        self.pending.extend(ids);
        Ok(())
    }

    /// Makes `ids` the tokens of the session and returns how many of them it had read already. What it holds of them stays
    /// in the cache, what stands behind is forgotten, and the rest waits.
    ///
    /// # Errors
    /// As [`append`](Self::append), and `EmptyPrompt` for no tokens; then nothing has changed.
    pub fn set_tokens(&mut self, ids: &[u32]) -> Result<u32> {
        self.session.admit_ids(ids)?;
        let Some((_, before)) = ids.split_last() else { return Err(Error::EmptyPrompt) };
        let (tokens, context) = (ids.len() as u64, u64::from(self.session.context()));
        if tokens > context {
            return Err(Error::ContextFull { tokens, context });
        }
        // The last token is read in any case: the next one follows from it.
        let cached = self.session.best_prefix(before).len;
        self.session.rollback(RollbackTarget::Len(cached))?;
        self.pending = ids[cached as usize..].to_vec();
        Ok(cached)
    }

    /// Reads at most `most` of the tokens that wait, but for the last one. Returns whether there are more.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn read(&mut self, most: usize) -> Result<bool> {
        let take = self.pending.len().saturating_sub(1).min(most);
        if take > 0 {
            self.session.read(Input::Tokens(&self.pending[..take]))?;
            self.pending.drain(..take);
        }
        Ok(self.pending.len() > 1)
    }

    /// Reads the tokens that wait and chooses the one that follows, which then waits in turn.
    ///
    /// # Errors
    /// As [`Session::next`]: then, and if the future is dropped, the same tokens wait as before.
    pub async fn next(&mut self, sampler: &mut Sampler) -> Result<u32> {
        let id = self.session.next(&self.pending, sampler).await?;
        self.pending.clear();
        self.pending.push(id);
        Ok(id)
    }

    /// Tokens of a draft that fit a step behind the token that waits.
    pub(crate) fn most_drafted(&self) -> usize {
        let rows = self.session.most_chosen().min(self.session.room());
        (rows as usize).saturating_sub(self.pending.len())
    }

    /// Reads the token that waits and a draft of what follows, in one step. Returns the tokens that the sampler chooses: those
    /// of the draft, up to the first of `ends` or the first that it chooses otherwise, which is the last one. That one waits
    /// then, and nothing behind it was read.
    ///
    /// # Errors
    /// As [`Session::next`]; `Config` for a draft that is too long for a step.
    pub(crate) async fn next_drafted(
        &mut self,
        draft: &[u32],
        ends: &[u32],
        sampler: &mut Sampler,
    ) -> Result<Vec<u32>> {
        let (before, read) = (self.session.tokens().len(), [&self.pending, draft].concat());
        let mut ids = self.session.next_each(&read, sampler).await?;
        let same = ids.iter().zip(draft).take_while(|(id, drafted)| id == drafted && !ends.contains(id)).count();
        ids.truncate(same + 1);
        self.pending.clear();
        self.keep_drafted(before, &ids)?;
        Ok(ids)
    }

    /// Reads the token that waits and a draft of what follows, and returns the logits behind each. Nothing waits then.
    pub(crate) async fn logits_drafted(&mut self, draft: &[u32]) -> Result<Vec<f32>> {
        self.session.checkpoint_to_check();
        let (read, mut rows) = ([&self.pending, draft].concat(), Vec::new());
        self.session.logits(&read, |logits| rows.extend_from_slice(logits)).await?;
        self.pending.clear();
        Ok(rows)
    }

    /// Keeps the first token that was read behind `before` tokens, and the chosen ones. The last of these then waits.
    pub(crate) fn keep_drafted(&mut self, before: usize, chosen: &[u32]) -> Result<()> {
        let Some((last, _)) = chosen.split_last() else { return Ok(()) };
        self.session.rewind((before + chosen.len()) as u32)?;
        self.session.forget_check(before as u32);
        self.pending = vec![*last];
        Ok(())
    }

    /// Reads the tokens that wait and returns the logits of the one that follows. Nothing waits then.
    ///
    /// # Errors
    /// As [`Session::next`].
    pub async fn logits(&mut self) -> Result<Vec<f32>> {
        if self.pending.len() > 1 {
            self.read(usize::MAX)?;
        }
        let mut row = Vec::new();
        self.session.logits(&self.pending, |logits| row.extend_from_slice(logits)).await?;
        self.pending.clear();
        Ok(row)
    }

    /// Puts a token that was chosen elsewhere behind the others, whether or not there is room to read it.
    pub(crate) fn hold(&mut self, id: u32) {
        self.pending.push(id);
    }

    /// Takes the tokens that wait, which whoever takes them reads.
    pub(crate) fn take_pending(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.pending)
    }

    /// Forgets the last token that waits.
    pub(crate) fn drop_held(&mut self) {
        self.pending.pop();
    }

    /// Makes the last token wait, if it was read. After a segment of embeddings nothing waits.
    ///
    /// # Errors
    /// As [`rollback`](Self::rollback).
    pub fn hold_last(&mut self) -> Result<()> {
        if self.pending.is_empty() { self.rollback(self.len()) } else { Ok(()) }
    }

    /// Forgets what stands from `len` on; reads again what leads there, where the cache can't go back by itself.
    ///
    /// # Errors
    /// `Rollback` for a length that it can't go back to.
    pub fn rollback(&mut self, len: u32) -> Result<()> {
        let (read, all, to) = (self.session.tokens(), self.len(), len as usize);
        if len > all {
            return Err(Error::Rollback { to: len, nearest: all, replay: len - all });
        }
        if to > read.len() {
            self.pending.truncate(to - read.len());
            return Ok(());
        }
        // What comes after the last token is asked when it is read: again.
        let keep = if to > 0 && read[to - 1] != NO_TOKEN { to - 1 } else { to };
        let pending = read[keep..to].to_vec();
        self.session.rewind(keep as u32)?;
        self.pending = pending;
        Ok(())
    }

    /// The sequence as it is now.
    pub fn snapshot(&self) -> BufferedSnapshot<B> {
        BufferedSnapshot { snapshot: self.session.snapshot(), pending: self.pending.clone() }
    }

    /// Goes back to what a snapshot holds.
    ///
    /// # Errors
    /// As [`Session::fork_at`].
    pub fn rollback_to(&mut self, to: &BufferedSnapshot<B>) -> Result<()> {
        self.session = self.session.fork_at(&to.snapshot)?;
        self.pending.clone_from(&to.pending);
        Ok(())
    }

    /// A second session that goes on from a snapshot.
    ///
    /// # Errors
    /// As [`Session::fork_at`].
    pub fn fork(&self, from: &BufferedSnapshot<B>) -> Result<Self> {
        Ok(Self { session: self.session.fork_at(&from.snapshot)?, pending: from.pending.clone() })
    }

    /// The cache as a file, the waiting tokens among it; see [`Session::save`].
    ///
    /// # Errors
    /// As [`Session::save`].
    pub async fn save(&self) -> Result<Vec<u8>> {
        let mut copy = self.session.fork()?;
        if !self.pending.is_empty() {
            copy.read(Input::Tokens(&self.pending))?;
        }
        copy.save().await
    }

    /// Takes a saved cache in the place of what the session holds.
    ///
    /// # Errors
    /// As [`Session::restore`].
    pub async fn restore(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.session.restore(bytes).await?;
        self.pending.clear();
        Ok(())
    }
}
