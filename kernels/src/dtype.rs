//! Element types, and the blocks in which quantised weights are stored.

/// How the elements of a tensor are stored.
///
/// The quantised formats are GGML's: rows are cut into blocks of [`block_len`](DType::block_len) elements
/// that follow each other without padding, all little endian.
///
/// | type | bytes of a block | element `i` of the block |
/// |---|---|---|
/// | `Q8_0` | `f16 d`, 32 x `i8 q` | `d q[i]` |
/// | `Q4_0` | `f16 d`, 16 bytes of nibbles | `d (q[i] - 8)` |
/// | `Q4_1` | `f16 d`, `f16 m`, 16 bytes of nibbles | `d q[i] + m` |
///
/// Nibbles: `q[i]` is the low half of byte `i` for `i < 16` and the high half of byte `i - 16` after that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DType {
    F32,
    F16,
    BF16,
    I32,
    U32,
    Q8_0,
    Q4_0,
    Q4_1,
}

impl DType {
    /// Elements of one block; 1 where every element stands alone.
    pub const fn block_len(self) -> u32 {
        match self {
            DType::Q8_0 | DType::Q4_0 | DType::Q4_1 => 32,
            _ => 1,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> u32 {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q8_0 => 34,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
        }
    }

    /// Bytes of `elements` elements, or `None` if they are not whole blocks or the product overflows.
    pub const fn bytes(self, elements: u64) -> Option<u64> {
        let len = self.block_len() as u64;
        if !elements.is_multiple_of(len) {
            return None;
        }
        (elements / len).checked_mul(self.block_bytes() as u64)
    }

    /// The formats that `linear` and `embed` take as weights.
    pub const WEIGHTS: [DType; 6] = [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_1];

    /// Whether `linear` and `embed` have kernels for weights of this type.
    pub fn is_weight(self) -> bool {
        Self::WEIGHTS.contains(&self)
    }

    /// The lowercase name used in cases, messages and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::Q8_0 => "q8_0",
            DType::Q4_0 => "q4_0",
            DType::Q4_1 => "q4_1",
        }
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
