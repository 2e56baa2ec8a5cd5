//! Matrix products on units that multiply tiles of bf16, with each f32 split into two bf16.
//!
//! ```text
//! x = high + low + rest        high = bf16(x), low = bf16(x - high), |rest| <= 2^-17 |x|
//! x w ~ high high + low high + high low
//! ```
//!
//! Each product of two f32 becomes three products of bf16, summed in f32, with a relative
//! error of at most 2^-16: well within the tolerance of f32 kernels. A value that is not
//! finite makes every sum that includes it NaN, or infinite if it was rounded. Numbers below 2^-126 count as 0.
//!
//! [`Tiles::coarse`] keeps the high parts alone: one product of bf16, with a relative error of at most 2^-8.
//!
//! The unit is AMX, which Linux grants on request. A tile product is 16 x 16 x 32, 16 times the work of one AVX-512
//! instruction in as many cycles.

#[cfg(all(target_arch = "x86_64", target_os = "linux", feature = "std"))]
mod amx;
/// Stub for targets without AMX, or without a way to request it.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", feature = "std")))]
#[path = "none.rs"]
mod amx;

use crate::cpu::{Matrix, Tile};
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A unit for tile products that this processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiles {
    coarse: bool,
}

/// Rows and columns of a block, the unit of one call.
const BLOCK: usize = 32;
/// Rows or columns of a tile.
pub(crate) const GROUP: usize = 16;
/// Terms of one step.
const STEP: usize = 32;

/// A cache line: 32 bf16.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read by tile loads")] [u16; STEP]);

type Uninit = MaybeUninit<Line>;

/// A matrix split into bf16 halves, or rounded to bf16.
///
/// Left side, `[rows, terms]`: groups of 16 rows; for each group and step the high halves of each row, then the low
/// halves. Right side, `[terms, columns]`: groups of 16 columns; for each group and step the high halves, then the low
/// halves, `[16, 16, 2]` each, with the terms in pairs. A matrix that is rounded has no low halves.
pub(crate) struct Split {
    count: usize,
    steps: usize,
    /// Lines of a group and step: 16 high halves, then 16 low halves, if there are any.
    height: usize,
    lines: Vec<Uninit>,
    /// Number of groups whose lines have been written.
    written: AtomicUsize,
}

/// 16 rows or columns of a matrix, to be filled.
pub(crate) struct Group<'a> {
    lines: &'a mut [Uninit],
    written: &'a AtomicUsize,
}

impl Split {
    /// Returns a matrix without elements.
    pub(crate) fn new() -> Self {
        Self { count: 0, steps: 0, height: 0, lines: Vec::new(), written: AtomicUsize::new(0) }
    }

    /// Returns the groups, to be filled; the last one may have fewer rows or columns.
    pub(crate) fn groups_mut(&mut self) -> impl Iterator<Item = Group<'_>> {
        let (used, rest) = self.lines.split_at_mut(self.count.div_ceil(GROUP) * self.steps * self.height);
        // Zeros pad the last block.
        rest.fill(Uninit::new(Line([0; STEP])));
        *self.written.get_mut() = 0;
        let written = &self.written;
        used.chunks_exact_mut((self.steps * self.height).max(1)).map(move |lines| Group { lines, written })
    }

    /// Returns the lines; panics unless all groups are filled.
    fn lines(&self) -> &[Uninit] {
        let groups = if self.steps == 0 { 0 } else { self.count.div_ceil(GROUP) };
        assert_eq!(self.written.load(Ordering::Acquire), groups, "a matrix that is filled");
        &self.lines
    }
}

impl Tiles {
    /// Returns the unit, if the processor has one and the system grants it.
    pub fn detect() -> Option<Self> {
        amx::lent().then_some(Self { coarse: false })
    }

    /// Rounds both sides of products to bf16 instead of splitting them: a third of the multiplications.
    pub(crate) fn coarse(self) -> Self {
        Self { coarse: true }
    }

    /// Lines of a group and step.
    fn height(self) -> usize {
        if self.coarse { GROUP } else { 2 * GROUP }
    }

    /// Resizes for a matrix of `count` rows or columns of `terms` terms, to be filled group by group. Reuses the memory if it
    /// is large enough.
    pub(crate) fn resize(self, split: &mut Split, count: usize, terms: usize) {
        (split.count, split.steps, split.height) = (count, terms.div_ceil(STEP), self.height());
        let groups = count.next_multiple_of(BLOCK) / GROUP;
        split.lines.resize(groups * split.steps * split.height, Uninit::uninit());
        *split.written.get_mut() = 0;
    }

    /// Splits up to 16 rows of a matrix for the left side.
    pub(crate) fn split_rows(self, a: Matrix<'_>, to: Group<'_>) {
        let [rows, terms] = a.shape();
        let lines = terms.div_ceil(STEP) * self.height();
        assert!((1..=GROUP).contains(&rows) && lines == to.lines.len(), "room for the rows");
        // SAFETY: a token of this type exists only if the features have been detected.
        unsafe { amx::split_rows(a, self.height(), to.lines) };
        to.written.fetch_add(1, Ordering::Release);
    }

    /// Splits up to 16 columns of a matrix for the right side.
    pub(crate) fn split_columns(self, b: Matrix<'_>, to: Group<'_>) {
        let [terms, columns] = b.shape();
        let lines = terms.div_ceil(STEP) * self.height();
        assert!((1..=GROUP).contains(&columns) && lines == to.lines.len(), "room for the columns");
        // SAFETY: as above.
        unsafe { amx::split_columns(b, self.height(), to.lines) };
        to.written.fetch_add(1, Ordering::Release);
    }

    /// Computes `c = a b`, or `c += a b` with `add`, for rows of `a` and columns of `b` that have been split.
    pub(crate) fn multiply(self, a: &Split, b: &Split, c: &mut Tile<'_>, add: bool) {
        assert!(a.steps == b.steps && c.shape() == [a.count, b.count], "shapes of a product");
        assert!([a.height, b.height] == [self.height(); 2], "sides that this unit has split");
        // SAFETY: as above; all lines have been written.
        unsafe { amx::multiply([a.lines(), b.lines()], a.steps, self.coarse, c, add) };
    }

    /// Splits a whole matrix for the left side, on the calling thread.
    pub(crate) fn left(self, a: Matrix<'_>, to: &mut Split) {
        let [rows, terms] = a.shape();
        self.resize(to, rows, terms);
        for (i, group) in to.groups_mut().enumerate() {
            self.split_rows(a.rows(i * GROUP..rows.min((i + 1) * GROUP)), group);
        }
    }

    /// Splits a whole matrix for the right side, on the calling thread.
    pub(crate) fn right(self, b: Matrix<'_>, to: &mut Split) {
        let [terms, columns] = b.shape();
        self.resize(to, columns, terms);
        for (i, group) in to.groups_mut().enumerate() {
            let columns = b.transposed().rows(i * GROUP..columns.min((i + 1) * GROUP));
            self.split_columns(columns.transposed(), group);
        }
    }
}

#[cfg(test)]
mod tests;
