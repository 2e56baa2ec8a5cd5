//! Matrices inside of slices, for dense products.

use crate::cpu::simd::Simd;
use core::marker::PhantomData;

/// The last element of a matrix plus one; 0 for none.
fn span([rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
}

/// A matrix that is read: element `[i, j]` is `data[i * strides[0] + j * strides[1]]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows `stride` apart, the elements of a row next to each other.
    ///
    /// # Panics
    /// If the last element is outside of `data`.
    pub fn new(data: &'a [f32], shape: [usize; 2], stride: usize) -> Self {
        assert!(span(shape, [stride, 1]) <= data.len(), "matrix outside of the slice");
        Self { data, shape, strides: [stride, 1] }
    }

    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [column, row], ..self }
    }

    /// Some of the rows.
    pub(crate) fn rows(self, rows: core::ops::Range<usize>) -> Self {
        assert!(rows.end <= self.shape[0], "rows of a matrix");
        let start = (rows.start * self.strides[0]).min(self.data.len());
        Self { data: &self.data[start..], shape: [rows.len(), self.shape[1]], ..self }
    }

    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Distances between rows and between columns, in elements.
    pub fn strides(&self) -> [usize; 2] {
        self.strides
    }

    /// What the elements lie in.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    pub fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }

    pub fn get(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.strides[0] + j * self.strides[1]]
    }

    /// Row `i`, where its elements stand next to each other.
    pub(crate) fn row(&self, i: usize) -> Option<&'a [f32]> {
        (self.strides[1] == 1).then(|| &self.data[i * self.strides[0]..][..self.shape[1]])
    }
}

/// A matrix that is written by one task, its rows `stride` apart. Other tasks may write between the rows.
pub struct Tile<'a> {
    data: *mut f32,
    shape: [usize; 2],
    stride: usize,
    _owner: PhantomData<&'a mut [f32]>,
}

impl<'a> Tile<'a> {
    /// # Panics
    /// If the last element is outside of `data`, or rows overlap.
    pub fn new(data: &'a mut [f32], shape: [usize; 2], stride: usize) -> Self {
        // SAFETY: the borrow is the only one for as long as the tile lives.
        unsafe { Self::from_raw(data.as_mut_ptr(), data.len(), 0, shape, stride) }
    }

    /// # Safety
    /// `data` holds `len` elements; for `'a` nothing else reads or writes those of the tile.
    pub(super) unsafe fn from_raw(data: *mut f32, len: usize, start: usize, shape: [usize; 2], stride: usize) -> Self {
        let inside = span(shape, [stride, 1]).checked_add(start).is_some_and(|end| end <= len);
        assert!(inside && (stride >= shape[1] || shape[0] < 2), "tile outside of the slice");
        // SAFETY: `start` is at most `len`.
        Self { data: unsafe { data.add(start) }, shape, stride, _owner: PhantomData }
    }

    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.data
    }

    pub fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.shape[0], "row {i} of {}", self.shape[0]);
        if self.shape[1] == 0 {
            return &mut [];
        }
        // SAFETY: the row is inside of the tile, and the tile is borrowed as a whole.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.shape[1]) }
    }
}

/// `c = a b` or `c += a b` without a library: rows of `b` are added up, or columns that are contiguous multiplied.
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
