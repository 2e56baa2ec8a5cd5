//! Element types and the block formats of quantised weights.

/// Storage type of a tensor's elements.
///
/// The quantised formats are GGML's, and three of our own, into which loading turns other formats without loss: `Q8F`, `F8`
/// and `NF4`. A row is a sequence of blocks of [`block_len`](DType::block_len) elements, without padding between blocks,
/// little endian.
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
/// | `Q2K` | 16 bytes `s`, `m`, 64 bytes of pairs of bits, `f16 d`, `f16 e` | `d s[i / 16] q[i] - e m[i / 16]` |
/// | `Q3K` | 32 bytes `h`, 64 bytes of pairs of bits, 12 bytes `s`, `f16 d` | `d (s[i / 16] - 32) (q[i] - 4)` |
/// | `IQ4NL` | `f16 d`, 16 bytes of nibbles | `d K[q[i]]` |
/// | `IQ4XS` | `f16 d`, `u16 u`, 4 bytes `l`, 128 bytes of nibbles | `d (s[i / 32] - 32) K[q[i]]` |
/// | `MXFP4` | `u8 e`, 16 bytes of nibbles | `2^(e - 128) E[q[i]]` |
/// | `Q8F` | 2 x `f32 d`, 32 x `i8 q` | `d[i / 16] q[i]` |
/// | `F8` | `f32 d`, 32 x `q` | `d e4m3(q[i])` |
/// | `NF4` | `f32 d`, 16 bytes of nibbles | `d N[q[i]]` |
///
/// Nibbles: `q[i]` is the low half of byte `i` for `i < 16` and the high half of byte `i - 16` otherwise; bit `i` of
/// `h` is its fifth bit. In blocks of 256, `q[i]` is in byte `32 (i / 64) + i % 32`, the low half for even `i / 32`;
/// bit `i / 32` of `h[i % 32]` is its fifth bit. In `Q6K`, `q[i]` is in byte `64 (i / 128) + i % 64`, the low half for
/// even `i / 64`; its upper two bits are those of `h[32 (i / 128) + i % 32]` from bit `2 (i / 32 % 4)` on.
///
/// The twelve bytes of `s` and `m` hold eight 6-bit values of each. For `j < 4`, byte `j` holds `s[j]` and byte
/// `j + 4` holds `m[j]`. For `j >= 4`, byte `j + 4` holds the low four bits of `s[j]` and `m[j]`; their upper two bits
/// are the top two bits of bytes `j - 4` and `j`.
///
/// Pairs of bits: `q[i]` is in byte `32 (i / 128) + i % 32` from bit `2 (i / 32 % 4)` on; bit `i / 32` of `h[i % 32]` is its
/// third bit. In `Q2K`, a byte of scales holds `s[j]` in its low half and `m[j]` in its high half. In `Q3K`, byte `j % 8`
/// holds the low four bits of `s[j]` in its half `j / 8`, and byte `8 + j % 4` the upper two from bit `2 (j / 4)` on. In
/// `IQ4XS`, nibble `j` of `l` holds the low four bits of `s[j]` and `u` the upper two from bit `2 j` on; the nibbles of each 32
/// elements follow each other. `K`, `E` and `N` are the tables [`IQ4`](crate::quant::IQ4), [`E2M1`](crate::quant::E2M1) and
/// [`NORMAL`](crate::quant::NORMAL).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an f32.
    BF16,
    /// Signed 32-bit integers.
    I32,
    /// Unsigned 32-bit integers.
    U32,
    /// GGML's `Q8_0`: bytes with a scale for each 32.
    Q8_0,
    /// GGML's `Q4_0`: nibbles with a scale for each 32.
    Q4_0,
    /// GGML's `Q4_1`: nibbles with a scale and an offset for each 32.
    Q4_1,
    /// GGML's `Q5_0`: five bits with a scale for each 32.
    Q5_0,
    /// GGML's `Q5_1`: five bits with a scale and an offset for each 32.
    Q5_1,
    /// GGML's `Q4_K`: nibbles with scales and offsets of six bits.
    Q4K,
    /// GGML's `Q5_K`: five bits with scales and offsets of six bits.
    Q5K,
    /// GGML's `Q6_K`: six bits with scales of eight bits for each 16.
    Q6K,
    /// GGML's `Q2_K`: two bits with scales and offsets of four bits for each 16.
    Q2K,
    /// GGML's `Q3_K`: three bits with scales of six bits for each 16.
    Q3K,
    /// GGML's `IQ4_NL`: codes of a table of 16, with a scale for each 32.
    IQ4NL,
    /// GGML's `IQ4_XS`: codes of the same table, with scales of six bits.
    IQ4XS,
    /// The microscaling format: e2m1 with a power of two for each 32.
    MXFP4,
    /// Bytes with an f32 scale for each 16: what wider scales decode to.
    Q8F,
    /// FP8 e4m3 with an f32 scale for each 32.
    F8,
    /// NF4 of bitsandbytes: codes of a table of 16, with an f32 scale for each 32.
    NF4,
}

impl DType {
    /// Returns the number of elements in a block; 1 for formats without blocks.
    pub const fn block_len(self) -> u32 {
        match self {
            DType::Q8_0 | DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 => 32,
            DType::IQ4NL | DType::MXFP4 | DType::Q8F | DType::F8 | DType::NF4 => 32,
            DType::Q4K | DType::Q5K | DType::Q6K | DType::Q2K | DType::Q3K | DType::IQ4XS => 256,
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
            DType::Q2K => 84,
            DType::Q3K => 110,
            DType::IQ4NL => 18,
            DType::IQ4XS => 136,
            DType::MXFP4 => 17,
            DType::Q8F => 40,
            DType::F8 => 36,
            DType::NF4 => 20,
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
    pub const WEIGHTS: [DType; 19] = [
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
        DType::Q2K,
        DType::Q3K,
        DType::IQ4NL,
        DType::IQ4XS,
        DType::MXFP4,
        DType::Q8F,
        DType::F8,
        DType::NF4,
    ];

    /// Returns whether a format differs from others only in how a few words are decoded, so that few shapes are enough to try
    /// it.
    pub(crate) fn is_variant(self) -> bool {
        use DType::{F8, IQ4NL, IQ4XS, MXFP4, NF4, Q2K, Q3K, Q8F};
        matches!(self, Q2K | Q3K | IQ4NL | IQ4XS | MXFP4 | Q8F | F8 | NF4)
    }

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
            DType::Q2K => "q2_k",
            DType::Q3K => "q3_k",
            DType::IQ4NL => "iq4_nl",
            DType::IQ4XS => "iq4_xs",
            DType::MXFP4 => "mxfp4",
            DType::Q8F => "q8_f",
            DType::F8 => "f8",
            DType::NF4 => "nf4",
        }
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
