//! The tokens of one sequence: where they stand, what they are and how it came to hold them.

use super::pages::{Exhausted, Pages, Table};
use super::segment::{Kind, Segment, SegmentId, Version};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What stands in a list of tokens where there is an embedding instead.
pub const NO_TOKEN: u32 = u32::MAX;

/// Numbers that are given out once: of versions and of segments.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(super) fn fresh() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl From<Exhausted> for Error {
    fn from(exhausted: Exhausted) -> Self {
        Error::OutOfPages { needs: exhausted.needs, free: exhausted.free }
    }
}

/// A sequence as it is at one moment. Sequences and snapshots share it until one of them changes.
#[derive(Clone)]
pub(super) struct State {
    pub(super) table: Table,
    /// With [`NO_TOKEN`] for embeddings.
    pub(super) tokens: Vec<u32>,
    pub(super) segments: Vec<Segment>,
    /// Versions that a rollback can go back to, and how many tokens each has: the last one is this state's own.
    marks: Vec<(Version, u32)>,
    /// The slot of the states behind the last token, where there are states and tokens.
    slot: Table,
    /// Lengths at which the states were kept, and their slots. A slot that others hold is not written.
    checkpoints: Vec<(u32, Table)>,
}

/// A sequence of tokens over the pages of a pool.
#[derive(Clone)]
pub struct Sequence {
    state: Arc<State>,
}

/// Rows of a pool that are to be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    pub from: u32,
    pub to: u32,
    pub rows: u32,
}

/// Copies that make a change of pages true on the device; the rows they read stay where they are until this is dropped.
#[must_use]
pub struct Moves {
    pub rows: Vec<Move>,
    /// Slots of states: from and to.
    pub state: Option<(u32, u32)>,
    /// A slot that is to be one of no tokens.
    pub clear: Option<u32>,
    _held: Option<Table>,
    _slot: Option<Table>,
}

/// Where new tokens go.
#[must_use]
pub struct Extent {
    /// The first of them among the sequence's tokens.
    pub first: u32,
    pub positions: Vec<u32>,
    /// Rows of the pool.
    pub slots: Vec<u32>,
    /// To be made before the rows are written.
    pub moves: Moves,
}

/// How much of a text a sequence holds already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// Tokens that are the same.
    pub same: u32,
    /// The length to roll back to, at most `same`.
    pub len: u32,
}

impl Prefix {
    /// Tokens that are the same and must be read again all the same, since the sequence can't go back to their end.
    pub fn replay(&self) -> u32 {
        self.same - self.len
    }
}

impl Sequence {
    /// An empty sequence over pages, and over slots of states if there are any.
    pub fn new(pages: &Pages, slots: &Pages) -> Self {
        let state = State {
            table: Table::new(pages),
            tokens: Vec::new(),
            segments: Vec::new(),
            marks: vec![(Version(fresh()), 0)],
            slot: Table::new(slots),
            checkpoints: Vec::new(),
        };
        Self { state: Arc::new(state) }
    }

    /// Whether there are states, which can't forget.
    fn has_states(&self) -> bool {
        self.state.slot.owner().count() > 0
    }

    /// The slot of its states, where there are states and it has read anything.
    pub fn slot(&self) -> Option<u32> {
        self.state.slot.pages().first().copied()
    }

    /// Lengths at which states are kept.
    pub fn checkpoints(&self) -> impl Iterator<Item = u32> {
        self.state.checkpoints.iter().map(|c| c.0)
    }

    /// Keeps the states as they are now, for a rollback to this length. Nothing happens where there are none.
    pub fn checkpoint(&mut self) {
        let len = self.len();
        if self.has_states() && len > 0 && self.state.checkpoints.last().is_none_or(|c| c.0 != len) {
            let state = Arc::make_mut(&mut self.state);
            let slot = state.slot.clone();
            state.checkpoints.push((len, slot));
        }
    }

    /// The longest length up to `len` that the sequence can go back to.
    pub fn nearest(&self, len: u32) -> u32 {
        if len >= self.len() {
            return self.len();
        }
        if !self.has_states() {
            return len;
        }
        self.checkpoints().filter(|&at| at <= len).last().unwrap_or(0)
    }

    /// A sequence of saved segments (kind, tokens, position), whose positions do not go back, and the rows of the pool for
    /// its tokens.
    ///
    /// # Errors
    /// `OutOfPages`.
    pub(crate) fn restored(
        [pages, slots]: [&Pages; 2],
        tokens: &[u32],
        segments: &[(Kind, u32, u32)],
    ) -> Result<(Self, Vec<u32>)> {
        let mut sequence = Self::new(pages, slots);
        // Nobody else holds its pages: nothing moves.
        let Extent { slots, .. } = sequence.append(Kind::Text, tokens)?;
        let state = Arc::make_mut(&mut sequence.state);
        let mut start = 0;
        state.segments.clear();
        for &(kind, len, position) in segments {
            state.segments.push(Segment { id: SegmentId(fresh()), kind, start, len, position });
            start += len;
        }
        Ok((sequence, slots))
    }

    /// Tokens in the cache.
    pub fn len(&self) -> u32 {
        self.state.tokens.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.state.tokens.is_empty()
    }

    /// Every token, with [`NO_TOKEN`] where an embedding stands.
    pub fn tokens(&self) -> &[u32] {
        &self.state.tokens
    }

    pub fn segments(&self) -> &[Segment] {
        &self.state.segments
    }

    /// Page numbers in the order of the tokens.
    pub fn table(&self) -> &[u32] {
        self.state.table.pages()
    }

    pub fn version(&self) -> Version {
        self.state.marks.last().map_or(Version(u64::MAX), |mark| mark.0)
    }

    /// The position that the next token takes.
    pub fn next_position(&self) -> u32 {
        self.state.segments.last().map_or(0, |s| s.position + s.len)
    }

    /// The row of the pool that holds token `index`.
    fn row(table: &Table, index: u32) -> u32 {
        let page = table.owner().page();
        table.pages()[(index / page) as usize] * page + index % page
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
        let page = state.table.owner().page();
        let held = state.table.pages().len();
        let missing = (end.div_ceil(page) as usize).saturating_sub(held) as u32;
        // The page that is partly filled is written in place by its only holder.
        let partly = (!first.is_multiple_of(page) && end > first).then_some((first / page) as usize);
        let states = state.slot.owner().count() > 0 && end > first;
        let own = (states && first > 0).then_some(0);
        let old = loop {
            // Of checkpoints, the latest are the ones that are gone back to.
            match state.slot.grow(u32::from(states && first == 0), own) {
                Err(_) if !state.checkpoints.is_empty() => drop(state.checkpoints.remove(0)),
                result => break result?,
            }
        };
        let replaced = match state.table.grow(missing, partly) {
            Ok(replaced) => replaced,
            Err(exhausted) => {
                // Of a fresh slot nothing is written yet.
                match old {
                    Some(old) => state.slot = old,
                    None if first == 0 => state.slot = Table::new(state.slot.owner()),
                    None => {}
                }
                return Err(exhausted.into());
            }
        };
        let slot = state.slot.pages().first().copied().unwrap_or(0);
        let rows = replaced.iter().map(|old| Move {
            from: old.pages()[0] * page,
            to: first / page * page,
            rows: first % page,
        });
        let rows = rows.map(|m| Move { to: Self::row(&state.table, m.to), ..m }).collect();
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
            slots: (first..end).map(|i| Self::row(&state.table, i)).collect(),
            moves: Moves {
                rows,
                state: old.as_ref().map(|old| (old.pages()[0], slot)),
                clear: (states && first == 0).then_some(slot),
                _held: replaced,
                _slot: old,
            },
        })
    }

    /// Takes an append back, the last one, before anything of it was written: the sequence is as it was, but for
    /// checkpoints that were given up for it.
    pub(crate) fn withdraw(&mut self, extent: Extent) {
        let Extent { first, positions, moves, .. } = extent;
        if positions.is_empty() {
            return;
        }
        let state = Arc::make_mut(&mut self.state);
        let page = state.table.owner().page();
        match moves._held {
            Some(old) => {
                drop(state.table.split((first / page) as usize));
                state.table.join(old);
            }
            None => drop(state.table.split(first.div_ceil(page) as usize)),
        }
        match moves._slot {
            Some(old) => state.slot = old,
            None if moves.clear.is_some() => state.slot = Table::new(state.slot.owner()),
            None => {}
        }
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
    /// `Rollback` where states are not kept for that length. Then nothing has changed.
    pub fn truncate(&mut self, len: u32) -> Result<()> {
        if len >= self.len() {
            return Ok(());
        }
        let nearest = self.nearest(len);
        if nearest != len {
            return Err(Error::Rollback { to: len, nearest, replay: len - nearest });
        }
        let state = Arc::make_mut(&mut self.state);
        state.checkpoints.retain(|c| c.0 <= len);
        let kept = state.checkpoints.last().filter(|_| len > 0).map(|c| c.1.clone());
        state.slot = kept.unwrap_or_else(|| Table::new(state.slot.owner()));
        let page = state.table.owner().page();
        drop(state.table.split(len.div_ceil(page) as usize));
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

    /// How many tokens the sequence had at `version`, if it can go back there.
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
    /// are states, which have read the segment. Then nothing has changed.
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
        let nothing = Moves { rows: Vec::new(), state: None, clear: None, _held: None, _slot: None };
        let count = gone.end - gone.start;
        if gone.end == self.len() || count == 0 {
            if count > 0 {
                self.truncate(gone.start)?;
            }
            return Ok(nothing);
        }
        if self.has_states() {
            let nearest = self.nearest(gone.start);
            let replay = self.len() - count - nearest;
            return Err(Error::Rollback { to: gone.start, nearest, replay });
        }
        let state = Arc::make_mut(&mut self.state);
        let page = state.table.owner().page();
        let (kept, len) = (gone.start / page, state.tokens.len() as u32 - count);
        let mut tail = Table::new(state.table.owner());
        tail.grow(len.div_ceil(page) - kept, None)?;
        let mut rows: Vec<Move> = Vec::new();
        for i in kept * page..len {
            let from = Self::row(&state.table, if i < gone.start { i } else { i + count });
            let to = Self::row(&tail, i - kept * page);
            match rows.last_mut() {
                Some(run) if run.from + run.rows == from && run.to + run.rows == to => run.rows += 1,
                _ => rows.push(Move { from, to, rows: 1 }),
            }
        }
        let held = state.table.split(kept as usize);
        state.table.join(tail);
        state.tokens.drain(gone.start as usize..gone.end as usize);
        state.segments = std::mem::take(&mut state.segments).into_iter().flat_map(|s| s.without(&gone)).collect();
        // What stood there before the segment came is still the beginning.
        state.marks.retain(|mark| mark.1 <= gone.start);
        state.marks.push((Version(fresh()), len));
        Ok(Moves { rows, _held: Some(held), ..nothing })
    }

    /// How much of `tokens` the sequence holds. An embedding equals no token.
    pub fn best_prefix(&self, tokens: &[u32]) -> Prefix {
        let same = self.tokens().iter().zip(tokens).take_while(|(old, new)| old == new && **old != NO_TOKEN).count();
        Prefix { same: same as u32, len: self.nearest(same as u32) }
    }
}
