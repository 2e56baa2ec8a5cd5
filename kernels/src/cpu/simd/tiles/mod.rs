//! Matrix products on units that multiply tiles of bf16, with each f32 split into two bf16.
//!
//! ```text
//! x = high + low + rest        high = bf16(x), low = bf16(x - high), |rest| <= 2^-17 |x|
//! x w ~ high high + low high + high low
//! ```
//!
//! Each product of two f32 becomes three products of bf16, summed in f32, with a relative
//! error of at most 2^-16: well within the tolerance of f32 kernels. A value that is not
//! finite makes every sum that includes it NaN. Numbers below 2^-126 count as 0.
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
pub struct Tiles(());

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

/// A matrix split into bf16 halves.
///
/// Left side, `[rows, terms]`: groups of 16 rows; for each group and step the high halves of each row, then the low
/// halves. Right side, `[terms, columns]`: groups of 16 columns; for each group and step the high halves, then the low
/// halves, `[16, 16, 2]` each, with the terms in pairs.
pub(crate) struct Split {
    count: usize,
    steps: usize,
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
    /// Allocates space for `count` rows or columns of `terms` terms.
    pub(crate) fn new(count: usize, terms: usize) -> Self {
        let mut split = Self { count: 0, steps: 0, lines: Vec::new(), written: AtomicUsize::new(0) };
        split.resize(count, terms);
        split
    }

    /// Resizes for another matrix, reusing the memory if it is large enough.
    pub(crate) fn resize(&mut self, count: usize, terms: usize) {
        (self.count, self.steps) = (count, terms.div_ceil(STEP));
        self.lines.resize(count.next_multiple_of(BLOCK) * self.steps * 2, Uninit::uninit());
        *self.written.get_mut() = 0;
    }

    /// Returns the groups, to be filled; the last one may have fewer rows or columns.
    pub(crate) fn groups_mut(&mut self) -> impl Iterator<Item = Group<'_>> {
        let (used, rest) = self.lines.split_at_mut(self.count.next_multiple_of(GROUP) * self.steps * 2);
        // Zeros pad the last block.
        rest.fill(Uninit::new(Line([0; STEP])));
        *self.written.get_mut() = 0;
        let written = &self.written;
        used.chunks_exact_mut((32 * self.steps).max(1)).map(move |lines| Group { lines, written })
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
        amx::lent().then_some(Self(()))
    }

    /// Splits up to 16 rows of a matrix for the left side.
    pub(crate) fn split_rows(self, a: Matrix<'_>, to: Group<'_>) {
        let [rows, terms] = a.shape();
        assert!((1..=GROUP).contains(&rows) && terms.div_ceil(STEP) * 32 == to.lines.len(), "room for the rows");
        // SAFETY: a token of this type exists only if the features have been detected.
        unsafe { amx::split_rows(a, to.lines) };
        to.written.fetch_add(1, Ordering::Release);
    }

    /// Splits up to 16 columns of a matrix for the right side.
    pub(crate) fn split_columns(self, b: Matrix<'_>, to: Group<'_>) {
        let [terms, columns] = b.shape();
        assert!((1..=GROUP).contains(&columns) && terms.div_ceil(STEP) * 32 == to.lines.len(), "room for the columns");
        // SAFETY: as above.
        unsafe { amx::split_columns(b, to.lines) };
        to.written.fetch_add(1, Ordering::Release);
    }

    /// Computes `c = a b`, or `c += a b` with `add`, for rows of `a` and columns of `b` that have been split.
    pub(crate) fn multiply(self, a: &Split, b: &Split, c: &mut Tile<'_>, add: bool) {
        assert!(a.steps == b.steps && c.shape() == [a.count, b.count], "shapes of a product");
        // SAFETY: as above; all lines have been written.
        unsafe { amx::multiply(a.lines(), b.lines(), a.steps, c, add) };
    }

    /// Splits a whole matrix for the left side, on the calling thread.
    pub(crate) fn left(self, a: Matrix<'_>, to: &mut Split) {
        let [rows, terms] = a.shape();
        to.resize(rows, terms);
        for (i, group) in to.groups_mut().enumerate() {
            self.split_rows(a.rows(i * GROUP..rows.min((i + 1) * GROUP)), group);
        }
    }

    /// Splits a whole matrix for the right side, on the calling thread.
    pub(crate) fn right(self, b: Matrix<'_>, to: &mut Split) {
        let [terms, columns] = b.shape();
        to.resize(columns, terms);
        for (i, group) in to.groups_mut().enumerate() {
            let columns = b.transposed().rows(i * GROUP..columns.min((i + 1) * GROUP));
            self.split_columns(columns.transposed(), group);
        }
    }
}

#[cfg(test)]
mod tests;
