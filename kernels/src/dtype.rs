//! Element types and the block formats of quantised weights.

/// Storage type of a tensor's elements.
///
/// The quantised formats are GGML's: a row is a sequence of blocks of [`block_len`](DType::block_len) elements,
/// without padding between blocks, little endian.
///
/// | type | bytes of a block | element `i` of the block |
/// |---|---|---|
/// | `Q8_0` | `f16 d`, 32 x `i8 q` | `d q[i]` |
/// | `Q4_0` | `f16 d`, 16 bytes of nibbles | `d (q[i] - 8)` |
/// | `Q4_1` | `f16 d`, `f16 m`, 16 bytes of nibbles | `d q[i] + m` |
/// | `Q5_0` | `f16 d`, `u32 h`, 16 bytes of nibbles | `d (q[i] - 16)` |
/// | `Q5_1` | `f16 d`, `f16 m`, `u32 h`, 16 bytes of nibbles | `d q[i] + m` |
/// | `Q4K` | `f16 d`, `f16 e`, 12 bytes `s`, `m`, 128 bytes of nibbles | `d s[j] q[i] - e m[j]`, `j = i / 32` |
/// | `Q5K` | `f16 d`, `f16 e`, 12 bytes `s`, `m`, 32 bytes `h`, 128 bytes of nibbles | the same |
/// | `Q6K` | 128 bytes of nibbles, 64 bytes `h`, 16 x `i8 s`, `f16 d` | `d s[i / 16] (q[i] - 32)` |
///
/// Nibbles: `q[i]` is the low half of byte `i` for `i < 16` and the high half of byte `i - 16` otherwise; bit `i` of
/// `h` is its fifth bit. In blocks of 256, `q[i]` is in byte `32 (i / 64) + i % 32`, the low half for even `i / 32`;
/// bit `i / 32` of `h[i % 32]` is its fifth bit. In `Q6K`, `q[i]` is in byte `64 (i / 128) + i % 64`, the low half for
/// even `i / 64`; its upper two bits are those of `h[32 (i / 128) + i % 32]` from bit `2 (i / 32 % 4)` on.
///
/// The twelve bytes of `s` and `m` hold eight 6-bit values of each. For `j < 4`, byte `j` holds `s[j]` and byte
/// `j + 4` holds `m[j]`. For `j >= 4`, byte `j + 4` holds the low four bits of `s[j]` and `m[j]`; their upper two bits
/// are the top two bits of bytes `j - 4` and `j`.
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
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
}

impl DType {
    /// Returns the number of elements in a block; 1 for formats without blocks.
    pub const fn block_len(self) -> u32 {
        match self {
            DType::Q8_0 | DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 => 32,
            DType::Q4K | DType::Q5K | DType::Q6K => 256,
            _ => 1,
        }
    }

    /// Returns the number of bytes in a block.
    pub const fn block_bytes(self) -> u32 {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q8_0 => 34,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q5_0 => 22,
            DType::Q5_1 => 24,
            DType::Q4K => 144,
            DType::Q5K => 176,
            DType::Q6K => 210,
        }
    }

    /// Returns the bytes of `elements` elements, or `None` if they are not whole blocks or the product overflows.
    pub const fn bytes(self, elements: u64) -> Option<u64> {
        let len = self.block_len() as u64;
        if !elements.is_multiple_of(len) {
            return None;
        }
        (elements / len).checked_mul(self.block_bytes() as u64)
    }

    /// Weight formats that `linear` and `embed` accept.
    pub const WEIGHTS: [DType; 11] = [
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::Q8_0,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q4K,
        DType::Q5K,
        DType::Q6K,
    ];

    /// Returns whether `linear` and `embed` have kernels for weights of this type.
    pub fn is_weight(self) -> bool {
        Self::WEIGHTS.contains(&self)
    }

    /// Returns the lowercase name used in cases, messages and on the command line.
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
            DType::Q5_0 => "q5_0",
            DType::Q5_1 => "q5_1",
            DType::Q4K => "q4_k",
            DType::Q5K => "q5_k",
            DType::Q6K => "q6_k",
        }
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
