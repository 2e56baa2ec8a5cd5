//! The tokens of one sequence: positions, segments and versions.
//!
//! Sequences, snapshots and forks share one immutable state, which is copied before a write. A snapshot is one
//! reference count at any length. The first write after a snapshot copies a list of tokens and, if the last page is
//! partly filled, that page.
//!
//! A removed segment is closed up by copying the rows behind it, so attention always runs over one contiguous table.
//! Positions stay as they were, because rows carry their rotation.

use super::pages::{Exhausted, Table};
use super::rows::{Grown, Holders, Move, Rows};
use super::segment::{Kind, Prefix, Segment, SegmentId, Version, fresh};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Marks a position of a token list that holds an embedding instead of a token.
pub const NO_TOKEN: u32 = u32::MAX;

impl From<Exhausted> for Error {
    fn from(exhausted: Exhausted) -> Self {
        Error::OutOfPages { needs: exhausted.needs, free: exhausted.free }
    }
}

/// A sequence as it is at one moment. Sequences and snapshots share it until one of them changes.
#[derive(Clone)]
struct State {
    /// The rows of layers with full attention, and of layers with a window.
    rows: [Rows; 2],
    /// With [`NO_TOKEN`] for embeddings.
    tokens: Vec<u32>,
    segments: Vec<Segment>,
    /// Versions that a rollback can go back to, and how many tokens each has: the last one is this state's own.
    marks: Vec<(Version, u32)>,
    /// The slot of the states behind the last token, where there are states and tokens.
    slot: Table,
    checkpoints: Vec<Checkpoint>,
}

/// The state and window rows of a sequence after `len` tokens, which a longer sequence cannot recompute. A slot that
/// another sequence holds is not written.
#[derive(Clone)]
struct Checkpoint {
    len: u32,
    slot: Table,
    window: Rows,
}

/// A sequence of tokens over the pages of a pool.
#[derive(Clone)]
pub struct Sequence {
    state: Arc<State>,
    /// The length of the text that its keys are rotated for, where rotations depend on it; 0 for all that do not.
    stretched: u32,
}

/// Copies that make a change of pages true on the device; the rows they read stay where they are until this is dropped.
#[must_use]
pub struct Moves {
    /// In layers that see every token, and in those that see a window.
    pub rows: [Vec<Move>; 2],
    /// Slots of states: from and to.
    pub state: Option<(u32, u32)>,
    /// A slot that is to be one of no tokens.
    pub clear: Option<u32>,
    _held: Option<[Rows; 2]>,
}

/// The rows and slots that new tokens of a sequence are written to.
#[must_use]
pub struct Extent {
    /// The first of them among the sequence's tokens.
    pub first: u32,
    pub positions: Vec<u32>,
    /// Rows of the pool, in layers that see every token and in those that see a window.
    pub slots: [Vec<u32>; 2],
    /// To be made before the rows are written.
    pub moves: Moves,
    grown: [Grown; 2],
    slot: Option<Table>,
    given: Vec<Checkpoint>,
}

impl Sequence {
    /// Returns the length of the text that its keys are rotated for; 0 where they do not depend on it.
    pub(crate) fn stretched(&self) -> u32 {
        self.stretched
    }

    /// Notes the length of the text that all keys from now on are rotated for.
    pub(crate) fn stretch(&mut self, length: u32) {
        self.stretched = length;
    }

    /// An empty sequence.
    pub fn new(holders: &Holders) -> Self {
        let state = State {
            rows: holders.rows().map(|(pages, window)| Rows::new(&pages, window)),
            tokens: Vec::new(),
            segments: Vec::new(),
            marks: vec![(Version(fresh()), 0)],
            slot: Table::new(&holders.slots),
            checkpoints: Vec::new(),
        };
        Self { state: Arc::new(state), stretched: 0 }
    }

    /// True if the model has recurrent states, which cannot be rolled back.
    pub(crate) fn has_states(&self) -> bool {
        self.state.slot.owner().count() > 0
    }

    /// The slot of its states, where there are states and it has read anything.
    pub fn slot(&self) -> Option<u32> {
        self.state.slot.pages().first().copied()
    }

    /// Lengths that it was told to remain able to go back to.
    pub fn checkpoints(&self) -> impl Iterator<Item = u32> {
        self.state.checkpoints.iter().map(|c| c.len)
    }

    /// Keeps the states as they are now, and what the window sees, for a rollback to this length. Nothing happens where
    /// there is neither.
    pub fn checkpoint(&mut self) {
        let len = self.len();
        let wanted = self.has_states() || self.state.rows[1].there();
        if wanted && len > 0 && self.checkpoints().last() != Some(len) {
            let state = Arc::make_mut(&mut self.state);
            let (slot, window) = (state.slot.clone(), state.rows[1].kept(len));
            state.checkpoints.push(Checkpoint { len, slot, window });
        }
    }

    /// Gives up what was kept for a rollback to `len`.
    pub(crate) fn forget_checkpoint(&mut self, len: u32) {
        if self.checkpoints().any(|at| at == len) {
            Arc::make_mut(&mut self.state).checkpoints.retain(|kept| kept.len != len);
        }
    }

    /// The longest length up to `len` that the sequence can go back to.
    pub fn nearest(&self, len: u32) -> u32 {
        if len >= self.len() {
            return self.len();
        }
        if !self.has_states() && self.state.rows[1].reach(len) {
            return len;
        }
        self.checkpoints().filter(|&at| at <= len).last().unwrap_or(0)
    }

    /// The tokens that lead from [`nearest`](Self::nearest) to `len`, if reading them again gives what was there: text without
    /// anything taken out between or in front.
    pub(crate) fn again(&self, len: u32) -> Option<&[u32]> {
        let nearest = self.nearest(len);
        let tokens = self.tokens().get(nearest as usize..len as usize)?;
        // How far positions are ahead of tokens; a gap in front of the first is one as well.
        let ahead = |s: &Segment| s.position - s.start;
        let mut before = self.segments().iter().rev().filter(|s| s.start < nearest).map(ahead);
        let ahead_there = before.next().unwrap_or(0);
        let mut between = self.segments().iter().filter(|s| s.start < len && s.end() > nearest);
        between.all(|s| s.kind == Kind::Text && ahead(s) == ahead_there).then_some(tokens)
    }

    /// A sequence of saved segments (kind, tokens, position), whose positions do not go back.
    ///
    /// # Errors
    /// `OutOfPages`.
    pub(crate) fn restored(holders: &Holders, tokens: &[u32], segments: &[(Kind, u32, u32)]) -> Result<Self> {
        let (mut sequence, len) = (Self::new(holders), tokens.len() as u32);
        let state = Arc::make_mut(&mut sequence.state);
        let [all, windowed] = holders.rows().map(|(pages, window)| Rows::restored(&pages, window, len));
        state.rows = [all?, windowed?];
        state.slot.grow(u32::from(holders.slots.count() > 0 && len > 0), None, &[])?;
        state.tokens = tokens.to_vec();
        let mut start = 0;
        for &(kind, len, position) in segments {
            state.segments.push(Segment { id: SegmentId(fresh()), kind, start, len, position });
            start += len;
        }
        state.marks.push((Version(fresh()), len));
        Ok(sequence)
    }

    /// Tokens in the cache.
    pub fn len(&self) -> u32 {
        self.state.tokens.len() as u32
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.state.tokens.is_empty()
    }

    /// Every token, with [`NO_TOKEN`] where an embedding stands.
    pub fn tokens(&self) -> &[u32] {
        &self.state.tokens
    }

    /// Returns the segments, in their order.
    pub fn segments(&self) -> &[Segment] {
        &self.state.segments
    }

    /// Page numbers in the order of the tokens, in layers that see every token.
    pub fn table(&self) -> &[u32] {
        self.state.rows[0].pages().1
    }

    /// In layers that see a window, how many pages are missing in front and the numbers of those that follow.
    pub fn window(&self) -> (u32, &[u32]) {
        self.state.rows[1].pages()
    }

    /// The rows that it needs to go on, in layers that see a window or in the others: where each page's begin in the pool,
    /// and how many they are.
    pub(crate) fn needed(&self, windowed: bool) -> Vec<(u32, u32)> {
        self.state.rows[usize::from(windowed)].needed(self.len())
    }

    /// Says if `count` tokens more take more pages than are free, of those of layers that see every token.
    ///
    /// # Errors
    /// `OutOfPages`.
    pub(crate) fn room(&self, count: u32) -> Result<()> {
        Ok(self.state.rows[0].room(self.len(), self.len() + count)?)
    }

    /// Returns the number of changes so far.
    pub fn version(&self) -> Version {
        self.state.marks.last().map_or(Version(u64::MAX), |mark| mark.0)
    }

    /// The position that the next token takes.
    pub fn next_position(&self) -> u32 {
        self.state.segments.last().map_or(0, |s| s.position + s.len)
    }

    /// Makes room for `tokens` at the tail. Text that follows text continues its segment.
    ///
    /// # Errors
    /// `OutOfPages`; then nothing has changed. `ContextFull` for more tokens than can be counted.
    pub fn append(&mut self, kind: Kind, tokens: &[u32]) -> Result<Extent> {
        let (first, position) = (self.len(), self.next_position());
        let most = u64::from(u32::MAX - 1);
        let total = u64::from(first.max(position)) + tokens.len() as u64;
        if total > most {
            return Err(Error::ContextFull { tokens: total, context: most });
        }
        let end = first + tokens.len() as u32;
        let state = Arc::make_mut(&mut self.state);
        let [all, window] = &mut state.rows;
        let grown = all.grow(first..end, &[])?;
        let windows: Vec<&[u32]> = state.checkpoints.iter().map(|c| c.window.pages().1).collect();
        let windowed = match window.grow(first..end, &windows) {
            Ok(windowed) => windowed,
            Err(exhausted) => {
                all.shrink(grown);
                return Err(exhausted.into());
            }
        };
        let states = state.slot.owner().count() > 0 && end > first;
        let slots: Vec<&[u32]> = state.checkpoints.iter().map(|c| c.slot.pages()).collect();
        let own = (states && first > 0).then_some(0);
        let (old, given) = match state.slot.grow(u32::from(states && first == 0), own, &slots) {
            Ok(taken) => taken,
            Err(exhausted) => {
                window.shrink(windowed);
                all.shrink(grown);
                return Err(exhausted.into());
            }
        };
        // Of checkpoints, the latest are the ones that are gone back to.
        let given = state.checkpoints.drain(..given.max(windowed.given)).collect();
        let slot = state.slot.pages().first().copied().unwrap_or(0);
        if end > first {
            state.tokens.extend_from_slice(tokens);
            match state.segments.last_mut() {
                Some(last) if kind == Kind::Text && last.kind == Kind::Text => last.len += end - first,
                _ => state.segments.push(Segment {
                    id: SegmentId(fresh()),
                    kind,
                    start: first,
                    len: end - first,
                    position,
                }),
            }
            state.marks.push((Version(fresh()), end));
        }
        Ok(Extent {
            first,
            positions: (position..position + (end - first)).collect(),
            slots: state.rows.each_ref().map(|rows| rows.slots(first..end)),
            moves: Moves {
                rows: [grown.moves.clone(), windowed.moves.clone()],
                state: old.as_ref().map(|old| (old.pages()[0], slot)),
                clear: (states && first == 0).then_some(slot),
                _held: None,
            },
            grown: [grown, windowed],
            slot: old,
            given,
        })
    }

    /// Takes an append back, the last one, before anything of it was written: the sequence is as it was.
    pub(crate) fn withdraw(&mut self, extent: Extent) {
        let Extent { first, positions, moves, grown: [grown, windowed], slot, given, .. } = extent;
        if positions.is_empty() {
            return;
        }
        let state = Arc::make_mut(&mut self.state);
        let [all, window] = &mut state.rows;
        all.shrink(grown);
        window.shrink(windowed);
        match slot {
            Some(old) => state.slot = old,
            None if moves.clear.is_some() => state.slot = Table::new(state.slot.owner()),
            None => {}
        }
        state.checkpoints.splice(0..0, given);
        state.tokens.truncate(first as usize);
        state.marks.pop();
        if let Some(last) = state.segments.last_mut() {
            last.len -= positions.len() as u32;
        }
        state.segments.retain(|s| s.len > 0);
    }

    /// Forgets the tokens from `len` on. Nothing happens where there are none.
    ///
    /// # Errors
    /// `Rollback` where states are not kept for that length, or what its last token saw in a window is given up. Then nothing
    /// has changed.
    pub fn truncate(&mut self, len: u32) -> Result<()> {
        if len >= self.len() {
            return Ok(());
        }
        let nearest = self.nearest(len);
        if nearest != len {
            return Err(Error::Rollback { to: len, nearest, replay: len - nearest });
        }
        let state = Arc::make_mut(&mut self.state);
        state.checkpoints.retain(|c| c.len <= len);
        let kept = state.checkpoints.last().filter(|_| len > 0);
        if let Some(kept) = kept.filter(|_| !state.rows[1].reach(len)) {
            state.rows[1] = kept.window.clone();
        }
        state.slot = kept.map_or_else(|| Table::new(state.slot.owner()), |kept| kept.slot.clone());
        state.rows.iter_mut().for_each(|rows| rows.truncate(len));
        state.tokens.truncate(len as usize);
        state.segments.retain(|s| s.start < len);
        if let Some(last) = state.segments.last_mut() {
            last.len = last.len.min(len - last.start);
        }
        state.marks.retain(|mark| mark.1 <= len);
        if state.marks.last().is_none_or(|mark| mark.1 != len) {
            state.marks.push((Version(fresh()), len));
        }
        Ok(())
    }

    /// Returns the number of tokens that the sequence had at `version`, if it can be rolled back there.
    pub fn len_at(&self, version: Version) -> Option<u32> {
        // Marks are in the order of their versions.
        let marks = &self.state.marks;
        marks.binary_search_by_key(&version, |mark| mark.0).ok().map(|i| marks[i].1)
    }

    /// Takes a segment out. What stands behind it keeps its positions and what it has read of it, and moves up: no row is
    /// computed anew.
    ///
    /// # Errors
    /// `NoSuchSegment`; `OutOfPages`, since what moves needs pages of its own until it has moved; `Rollback` where there
    /// are states, which have read the segment, or where a window would then see what is given up. Then nothing has changed.
    pub fn remove(&mut self, id: SegmentId) -> Result<Moves> {
        let at = self.state.segments.iter().position(|s| s.id == id).ok_or(Error::NoSuchSegment { id: id.0 })?;
        let gone = self.state.segments[at];
        self.cut(gone.start..gone.end())
    }

    /// Keeps the first `sinks` tokens and the last `recent` ones, and takes out what stands between. As with
    /// [`remove`](Self::remove), positions stay: unlike in StreamingLLM, no row is turned anew.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn evict(&mut self, sinks: u32, recent: u32) -> Result<Moves> {
        let start = sinks.min(self.len());
        self.cut(start..self.len().saturating_sub(recent).max(start))
    }

    fn cut(&mut self, gone: Range<u32>) -> Result<Moves> {
        let none = || Moves { rows: [Vec::new(), Vec::new()], state: None, clear: None, _held: None };
        let count = gone.end - gone.start;
        if gone.end == self.len() || count == 0 {
            if count > 0 {
                self.truncate(gone.start)?;
            }
            return Ok(none());
        }
        let len = self.len() - count;
        let [all, windowed] = self.state.rows.each_ref();
        let both = match self.has_states() {
            true => None,
            false => all.without(&gone, len)?.zip(windowed.without(&gone, len)?),
        };
        let Some(((all, moved), (windowed, slid))) = both else {
            let nearest = self.nearest(gone.start);
            return Err(Error::Rollback { to: gone.start, nearest, replay: len - nearest });
        };
        let state = Arc::make_mut(&mut self.state);
        let held = std::mem::replace(&mut state.rows, [all, windowed]);
        state.tokens.drain(gone.start as usize..gone.end as usize);
        state.segments = std::mem::take(&mut state.segments).into_iter().flat_map(|s| s.without(&gone)).collect();
        // What stood there before the segment came is still the beginning.
        state.checkpoints.retain(|c| c.len <= gone.start);
        state.marks.retain(|mark| mark.1 <= gone.start);
        state.marks.push((Version(fresh()), len));
        Ok(Moves { rows: [moved, slid], _held: Some(held), ..none() })
    }

    /// Returns the number of leading `tokens` that the sequence holds. An embedding equals no token.
    pub fn best_prefix(&self, tokens: &[u32]) -> Prefix {
        let same = self.tokens().iter().zip(tokens).take_while(|(old, new)| old == new && **old != NO_TOKEN).count();
        Prefix { same: same as u32, len: self.nearest(same as u32) }
    }
}
