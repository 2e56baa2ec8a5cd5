//! Strided matrix views over slices, for dense products.

use crate::cpu::simd::Simd;
use core::marker::PhantomData;

/// Returns the index of a matrix's last element plus one; 0 for an empty matrix.
fn span([rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
}

/// A read-only matrix view: element `[i, j]` is `data[i * strides[0] + j * strides[1]]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Views rows with a row stride of `stride` and contiguous elements.
    ///
    /// # Panics
    /// If the last element is outside of `data`.
    pub fn new(data: &'a [f32], shape: [usize; 2], stride: usize) -> Self {
        assert!(span(shape, [stride, 1]) <= data.len(), "matrix outside of the slice");
        Self { data, shape, strides: [stride, 1] }
    }

    /// Returns the transpose, without moving an element.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [column, row], ..self }
    }

    /// Returns a view of a range of rows.
    pub(crate) fn rows(self, rows: core::ops::Range<usize>) -> Self {
        assert!(rows.end <= self.shape[0], "rows of a matrix");
        let start = (rows.start * self.strides[0]).min(self.data.len());
        Self { data: &self.data[start..], shape: [rows.len(), self.shape[1]], ..self }
    }

    /// Returns the number of rows and of columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Returns the row stride and the column stride, in elements.
    pub fn strides(&self) -> [usize; 2] {
        self.strides
    }

    /// Returns the underlying slice, which begins at element `[0, 0]`.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Returns a pointer to the first element.
    pub fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }

    /// Returns one element.
    ///
    /// # Panics
    /// If it lies outside of the slice.
    pub fn get(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.strides[0] + j * self.strides[1]]
    }

    /// Returns row `i` if its elements are contiguous.
    pub(crate) fn row(&self, i: usize) -> Option<&'a [f32]> {
        (self.strides[1] == 1).then(|| &self.data[i * self.strides[0]..][..self.shape[1]])
    }
}

/// A matrix view written by one task, with row stride `stride`. Other tasks may write the elements between its rows.
pub struct Tile<'a> {
    data: *mut f32,
    shape: [usize; 2],
    stride: usize,
    _owner: PhantomData<&'a mut [f32]>,
}

impl<'a> Tile<'a> {
    /// Views rows of `data` with a row stride of `stride`.
    ///
    /// # Panics
    /// If the last element is outside of `data`, or rows overlap.
    pub fn new(data: &'a mut [f32], shape: [usize; 2], stride: usize) -> Self {
        // SAFETY: `data` is borrowed exclusively for the lifetime of the tile.
        unsafe { Self::from_raw(data.as_mut_ptr(), data.len(), 0, shape, stride) }
    }

    /// # Safety
    /// `data` points to `len` elements. For `'a` no other code reads or writes the elements of the tile.
    pub(super) unsafe fn from_raw(data: *mut f32, len: usize, start: usize, shape: [usize; 2], stride: usize) -> Self {
        let inside = span(shape, [stride, 1]).checked_add(start).is_some_and(|end| end <= len);
        assert!(inside && (stride >= shape[1] || shape[0] < 2), "tile outside of the slice");
        // SAFETY: `start` is at most `len`.
        Self { data: unsafe { data.add(start) }, shape, stride, _owner: PhantomData }
    }

    /// Returns the number of rows and of columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Returns the elements between the beginnings of two rows.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Returns a pointer to the first element.
    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.data
    }

    /// Returns row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.shape[0], "row {i} of {}", self.shape[0]);
        if self.shape[1] == 0 {
            return &mut [];
        }
        // SAFETY: the row is inside of the tile, and the whole tile is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.shape[1]) }
    }
}

/// Computes `c = a b` or `c += a b` without a library: sums scaled
/// rows of `b`, or takes dot products with contiguous columns of `b`.
pub(super) fn product(simd: Simd, a: Matrix<'_>, b: Matrix<'_>, c: &mut Tile<'_>, add: bool) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    assert!(b.shape[0] == k && c.shape == [m, n], "shapes of a product");
    for i in 0..m {
        let c = c.row(i);
        if !add {
            c.fill(0.0);
        }
        if k == 0 || n == 0 {
            continue;
        }
        match (a.row(i), b.strides) {
            (Some(a), [1, _]) => {
                let columns = b.transposed();
                (0..n).for_each(|j| c[j] += columns.row(j).map_or(0.0, |column| simd.dot(a, column)));
            }
            (Some(a), [stride, 1]) => simd.add_rows(a, b.data, stride, c),
            _ => (0..n).for_each(|j| c[j] += (0..k).map(|l| a.get(i, l) * b.get(l, j)).sum::<f32>()),
        }
    }
}
