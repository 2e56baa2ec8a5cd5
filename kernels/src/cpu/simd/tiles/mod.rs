//! Products of matrices on units that multiply tiles of bf16, with f32 split in two.
//!
//! ```text
//! x = high + low + rest        high = bf16(x), low = bf16(x - high), |rest| <= 2^-17 |x|
//! x w ~ high high + low high + high low
//! ```
//!
//! Each product of f32 becomes three of bf16, summed up in f32, and is off by 2^-16 of itself at most: well within the
//! tolerance of f32 kernels. What is not finite becomes NaN in every sum that it takes part in. Numbers below 2^-126
//! count as 0.
//!
//! The unit is AMX, which Linux lends on request: a tile product is 16 x 16 x 32, 16 times what one AVX-512 instruction
//! does in as many cycles.

#[cfg(all(target_arch = "x86_64", target_os = "linux", feature = "std"))]
mod amx;
/// Where there is no such unit, or no way to ask for it.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", feature = "std")))]
#[path = "none.rs"]
mod amx;

use crate::cpu::{Matrix, Tile};
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A unit for products of tiles that this processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiles(());

/// Rows and columns of what is multiplied at a time.
const BLOCK: usize = 32;
/// Rows or columns of a tile.
pub(crate) const GROUP: usize = 16;
/// Terms of a step.
const STEP: usize = 32;

/// A line of memory: 32 bf16.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read by tile loads")] [u16; STEP]);

type Uninit = MaybeUninit<Line>;

/// A matrix split in groups of 16 rows, `[rows, terms]` for the left side: for each group and step, the high halves of
/// each row, then the low ones. Or in groups of 16 columns, `[terms, columns]` for the right side: for each group and step,
/// the high halves and the low ones, `[16, 16, 2]` each, the terms in pairs.
pub(crate) struct Split {
    count: usize,
    steps: usize,
    lines: Vec<Uninit>,
    /// Groups whose lines have been written.
    written: AtomicUsize,
}

/// 16 rows or columns of a matrix.
pub(crate) struct Group<'a> {
    lines: &'a mut [Uninit],
    written: &'a AtomicUsize,
}

impl Split {
    /// Room for `count` rows or columns of `terms` terms.
    pub(crate) fn new(count: usize, terms: usize) -> Self {
        let mut split = Self { count: 0, steps: 0, lines: Vec::new(), written: AtomicUsize::new(0) };
        split.resize(count, terms);
        split
    }

    /// The same for another matrix, in the same memory if that is large enough.
    pub(crate) fn resize(&mut self, count: usize, terms: usize) {
        (self.count, self.steps) = (count, terms.div_ceil(STEP));
        self.lines.resize(count.next_multiple_of(BLOCK) * self.steps * 2, Uninit::uninit());
        *self.written.get_mut() = 0;
    }

    /// The groups, to be filled; the last one with fewer rows or columns.
    pub(crate) fn groups_mut(&mut self) -> impl Iterator<Item = Group<'_>> {
        let (used, rest) = self.lines.split_at_mut(self.count.next_multiple_of(GROUP) * self.steps * 2);
        // What makes the blocks whole.
        rest.fill(Uninit::new(Line([0; STEP])));
        *self.written.get_mut() = 0;
        let written = &self.written;
        used.chunks_exact_mut((32 * self.steps).max(1)).map(move |lines| Group { lines, written })
    }

    /// The lines, once all groups are filled.
    fn lines(&self) -> &[Uninit] {
        let groups = if self.steps == 0 { 0 } else { self.count.div_ceil(GROUP) };
        assert_eq!(self.written.load(Ordering::Acquire), groups, "a matrix that is filled");
        &self.lines
    }
}

impl Tiles {
    /// The unit, if the processor has one and the system lends it.
    pub fn detect() -> Option<Self> {
        amx::lent().then_some(Self(()))
    }

    /// Splits up to 16 rows of a matrix for the left side.
    pub(crate) fn split_rows(self, a: Matrix<'_>, to: Group<'_>) {
        let [rows, terms] = a.shape();
        assert!((1..=GROUP).contains(&rows) && terms.div_ceil(STEP) * 32 == to.lines.len(), "room for the rows");
        // SAFETY: a token of this type is made only where the features are there.
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

    /// `c = a b`, or `c += a b` with `add`, for the rows of `a` and the columns of `b` that have been split.
    pub(crate) fn multiply(self, a: &Split, b: &Split, c: &mut Tile<'_>, add: bool) {
        assert!(a.steps == b.steps && c.shape() == [a.count, b.count], "shapes of a product");
        // SAFETY: as above; the lines have been written.
        unsafe { amx::multiply(a.lines(), b.lines(), a.steps, c, add) };
    }

    /// Splits a matrix for the left side, on the calling thread.
    pub(crate) fn left(self, a: Matrix<'_>, to: &mut Split) {
        let [rows, terms] = a.shape();
        to.resize(rows, terms);
        for (i, group) in to.groups_mut().enumerate() {
            self.split_rows(a.rows(i * GROUP..rows.min((i + 1) * GROUP)), group);
        }
    }

    /// Splits a matrix for the right side, on the calling thread.
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
