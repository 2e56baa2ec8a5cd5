use crate::cpu::Simd;
use crate::dtype::DType;

/// Keys or values, the beginnings of rows `[rows, G, stored]`, in their storage format.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) format: DType,
    pub(super) bytes: &'a [u8],
    /// Elements that are read of a head's row.
    pub(super) width: usize,
    /// Elements of a head's row, at least `width`.
    pub(super) stored: usize,
}

impl<'a> Rows<'a> {
    /// Returns the data as f32 if it needs no decoding.
    pub(super) fn plain(&self) -> Option<&'a [f32]> {
        (self.format == DType::F32).then(|| bytemuck::cast_slice(self.bytes))
    }

    /// Returns the bytes of one head's row.
    pub(super) fn row_bytes(&self) -> usize {
        self.stored / self.format.block_len() as usize * self.format.block_bytes() as usize
    }

    /// Decodes `count` rows of head `g` from row `first` on to `out`, `[count, width]`.
    pub(super) fn decode(&self, simd: Simd, [first, count]: [usize; 2], g: usize, heads: usize, out: &mut [f32]) {
        let bytes = self.row_bytes();
        let size = [count, self.width, heads * bytes];
        simd.decode_rows(self.format, &self.bytes[(first * heads + g) * bytes..], size, out);
    }
}
