use crate::cpu::Simd;
use crate::dtype::DType;

/// `[rows, G, width]` of keys or values, as they are stored.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) format: DType,
    pub(super) bytes: &'a [u8],
    pub(super) width: usize,
}

impl<'a> Rows<'a> {
    /// The numbers, where they need not be decoded.
    pub(super) fn plain(&self) -> Option<&'a [f32]> {
        (self.format == DType::F32).then(|| bytemuck::cast_slice(self.bytes))
    }

    /// Bytes of one head.
    pub(super) fn row_bytes(&self) -> usize {
        self.width / self.format.block_len() as usize * self.format.block_bytes() as usize
    }

    /// Head `at` of all rows, to `out`.
    pub(super) fn decode(&self, simd: Simd, at: usize, out: &mut [f32]) {
        let bytes = self.row_bytes();
        simd.decode(self.format, &self.bytes[at * bytes..][..bytes], out);
    }
}
