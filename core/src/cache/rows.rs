//! The pages of a sequence in layers of one kind: full attention, or attention over a window.
//!
//! Layers with a window have a pool and a table of their own. In one common pool, the pages behind a window would stay
//! allocated for the layers that see every token.
//!
//! Pages behind the window stay until another sequence needs them, because a rollback may return to them: at most the
//! window and one step of 512 tokens. Rollbacks of up to 512 tokens are therefore exact. Longer rollbacks start from a
//! checkpoint, or return an error that says what re-reading costs.
//!
//! Example: 8,192 tokens of Gemma 3 270M hold 128 pages in its three full layers and 17 in its fifteen window layers.

use super::pages::{Exhausted, Pages, Table};
use std::ops::Range;

/// How many keys of a sequence the layers of one kind keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Tokens that a query sees, its own among them.
    pub sees: u32,
    /// Tokens that are kept at most. What the window has passed is of use for a rollback only: of that, the pages that are
    /// needed elsewhere are given up before.
    pub keeps: u32,
}

/// Who holds what of a pool, of which sequences take.
#[derive(Clone)]
pub struct Holders {
    /// Pages of layers that see every token.
    pub pages: Pages,
    /// Pages of layers that see a window, where there are any.
    pub windows: Option<(Pages, Window)>,
    /// Slots of states; none where there are no states.
    pub slots: Pages,
}

impl Holders {
    pub(super) fn rows(&self) -> [(Pages, Option<Window>); 2] {
        let none = || (Pages::new(0, self.pages.page()), None);
        let windows = self.windows.as_ref().map_or_else(none, |(pages, window)| (pages.clone(), Some(*window)));
        [(self.pages.clone(), None), windows]
    }
}

/// Rows of a pool that are to be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    pub from: u32,
    pub to: u32,
    pub rows: u32,
}

/// Pages with the rows of a sequence from one token on: those before it are given up. A pool of no pages has no such
/// layers, and then there is nothing to hold.
#[derive(Clone)]
pub(super) struct Rows {
    table: Table,
    from: u32,
    window: Option<Window>,
}

/// Undoes a growth of rows. While this value is held, no other sequence gets the pages that were given up.
pub(super) struct Grown {
    /// The copy of a page that other sequences hold as well.
    pub(super) moves: Vec<Move>,
    /// Number of pages given up, of those that could be.
    pub(super) given: usize,
    /// Before: the first token, the pages that stayed, the page that was replaced behind them, and those in front.
    from: u32,
    pages: usize,
    replaced: Option<Table>,
    passed: Table,
}

impl Rows {
    pub(super) fn new(pages: &Pages, window: Option<Window>) -> Self {
        Self { table: Table::new(pages), from: 0, window }
    }

    /// Room for what a sequence of `len` tokens needs to go on.
    pub(super) fn restored(pages: &Pages, window: Option<Window>, len: u32) -> Result<Self, Exhausted> {
        let mut rows = Self::new(pages, window);
        rows.from = rows.seen(len);
        if rows.there() {
            rows.table.grow(len.div_ceil(rows.page()) - rows.passed(), None, &[])?;
        }
        Ok(rows)
    }

    fn page(&self) -> u32 {
        self.table.owner().page()
    }

    /// Pages that are missing in front.
    fn passed(&self) -> u32 {
        self.from / self.page()
    }

    pub(super) fn there(&self) -> bool {
        self.table.owner().count() > 0
    }

    /// The first row that a token behind `len` others sees.
    pub(super) fn seen(&self, len: u32) -> u32 {
        self.window.map_or(0, |w| (len + 1).saturating_sub(w.sees))
    }

    /// True if the keys that the token at position `len` sees are still held.
    pub(super) fn reach(&self, len: u32) -> bool {
        self.seen(len) >= self.from
    }

    /// Returns the number of pages given up at the front, and the pages behind them.
    pub(super) fn pages(&self) -> (u32, &[u32]) {
        (self.passed(), self.table.pages())
    }

    /// The row of the pool that holds token `index`, which is there.
    fn row(&self, index: u32) -> u32 {
        let page = self.page();
        self.table.pages()[(index / page - self.passed()) as usize] * page + index % page
    }

    /// The rows of the pool that hold `tokens`.
    pub(super) fn slots(&self, tokens: Range<u32>) -> Vec<u32> {
        if self.there() { tokens.map(|i| self.row(i)).collect() } else { Vec::new() }
    }

    /// Returns the rows that a sequence of `len` tokens needs to continue: for each page the first row in the pool and the
    /// number of rows.
    pub(super) fn needed(&self, len: u32) -> Vec<(u32, u32)> {
        let (page, first) = (self.page(), self.seen(len));
        let pages = (first / page..len.div_ceil(page)).map(|i| (first.max(i * page), len.min((i + 1) * page)));
        if self.there() { pages.map(|(at, end)| (self.row(at), end - at)).collect() } else { Vec::new() }
    }

    /// Says if more pages are missing than are free before the sequence can have `end` tokens.
    pub(super) fn room(&self, first: u32, end: u32) -> Result<(), Exhausted> {
        self.table.room(self.missing(end), self.partly(first, end))
    }

    fn missing(&self, end: u32) -> u32 {
        end.div_ceil(self.page()).saturating_sub(self.passed() + self.table.pages().len() as u32)
    }

    /// The page that is partly filled, which its only holder writes in place.
    fn partly(&self, first: u32, end: u32) -> Option<usize> {
        let page = self.page();
        (!first.is_multiple_of(page) && end > first).then(|| (first / page - self.passed()) as usize)
    }

    /// Reserves pages for `tokens` at the end and evicts pages that none of these tokens sees, oldest first.
    ///
    /// Pages beyond the tokens that a window keeps are always evicted. If too few pages are free, further unseen pages
    /// follow, then pages of `spare`. On an error, nothing changes.
    pub(super) fn grow(&mut self, tokens: Range<u32>, spare: &[&[u32]]) -> Result<Grown, Exhausted> {
        let Range { start: first, end } = tokens;
        let (from, page, passed) = (self.from, self.page(), Table::new(self.table.owner()));
        let mut grown = Grown { moves: Vec::new(), given: 0, from, pages: 0, replaced: None, passed };
        if !self.there() || first == end {
            grown.pages = self.table.pages().len();
            return Ok(grown);
        }
        let (missing, partly) = (self.missing(end), self.partly(first, end));
        let unseen = (self.seen(first) / page - self.passed()) as usize;
        let all: Vec<u32> = self.table.pages()[..unseen].to_vec();
        let all: Vec<&[u32]> = all.chunks(1).chain(spare.iter().copied()).collect();
        let (replaced, given) = self.table.grow(missing, partly, &all)?;
        let over = self.window.map_or(0, |w| end.saturating_sub(w.keeps) / page).saturating_sub(self.passed());
        grown.given = given.saturating_sub(unseen);
        let rest = self.table.split(given.max(over as usize).min(unseen));
        grown.passed = std::mem::replace(&mut self.table, rest);
        let gone = grown.passed.pages().len();
        self.from = self.from.max((self.passed() + gone as u32) * page);
        grown.pages = self.table.pages().len() - missing as usize;
        grown.moves.extend(replaced.iter().map(|old| Move {
            from: old.pages()[0] * page,
            to: self.row(first / page * page),
            rows: first % page,
        }));
        grown.replaced = replaced;
        Ok(grown)
    }

    /// Undoes that rows have grown, the last time they did.
    pub(super) fn shrink(&mut self, grown: Grown) {
        let Grown { from, pages, replaced, mut passed, .. } = grown;
        drop(self.table.split(pages - usize::from(replaced.is_some())));
        if let Some(old) = replaced {
            self.table.join(old);
        }
        std::mem::swap(&mut self.table, &mut passed);
        self.table.join(passed);
        self.from = from;
    }

    /// Removes the tokens from `len` on. The rows that token `len` sees must still be held, unless `len` is 0.
    pub(super) fn truncate(&mut self, len: u32) {
        if len == 0 {
            self.from = 0;
            drop(self.table.split(0));
        }
        let keep = len.div_ceil(self.page()).saturating_sub(self.passed());
        drop(self.table.split(keep as usize));
    }

    /// Returns only the rows that the token at position `len` sees.
    pub(super) fn kept(&self, len: u32) -> Self {
        let mut kept = self.clone();
        kept.from = self.from.max(kept.seen(len));
        let rest = kept.table.split((kept.passed() - self.passed()) as usize);
        kept.table = rest;
        kept
    }

    /// Returns the first `len` tokens without those in `gone`, which must not be the last, and the copies to make.
    /// `None` if the window would then see rows that were given up.
    pub(super) fn without(&self, gone: &Range<u32>, len: u32) -> Result<Option<(Self, Vec<Move>)>, Exhausted> {
        let (page, count) = (self.page(), gone.end - gone.start);
        let (mut rows, mut moves) = (self.clone(), Vec::<Move>::new());
        let old = |new: u32| if new < gone.start { new } else { new + count };
        if !self.there() {
            return Ok(Some((rows, moves)));
        }
        if old(self.seen(len)) < self.from {
            return Ok(None);
        }
        // Whole pages in front stay as they are.
        let kept = (gone.start / page).max(self.passed());
        if self.from >= gone.start {
            rows.from = self.from.max(gone.end) - count;
        }
        let first = if self.from < gone.start { kept * page } else { rows.from };
        let mut tail = Table::new(self.table.owner());
        tail.grow(len.div_ceil(page) - first / page, None, &[])?;
        for i in first.max(rows.from)..len {
            let (from, to) = (self.row(old(i)), tail.pages()[(i / page - first / page) as usize] * page + i % page);
            match moves.last_mut() {
                Some(run) if run.from + run.rows == from && run.to + run.rows == to => run.rows += 1,
                _ => moves.push(Move { from, to, rows: 1 }),
            }
        }
        let stay = if self.from < gone.start { kept - self.passed() } else { 0 };
        drop(rows.table.split(stay as usize));
        rows.table.join(tail);
        Ok(Some((rows, moves)))
    }
}
