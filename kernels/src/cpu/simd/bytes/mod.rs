//! Integer products: activations are rounded to 16 bits in blocks of 32 and multiplied by 4-bit or 8-bit weights.
//!
//! ```text
//! x[i] ~ s q[i]                s = max |x| / 32512 over the block, q[i] = round(x[i] / s)
//! q[i] = 256 high[i] + low[i]  two signed bytes, for processors that multiply bytes
//! w[i] = d u[i] + m            u from 0 to 255; d and m of the block, or of each half of it
//! y    = sum over blocks of s d (u . q) + s m sum(q)
//! ```
//!
//! The rounding error is 1e-5 of each block's largest activation, within `Tolerance::ROUNDED`. With one byte per activation,
//! as in GGML's `Q8_0` products, it is 4e-3, which changes the tokens that a model chooses: [`Bytes::coarse`] asks for that.
//! The low bytes then are 0, and products of many tokens leave them out. After the rounding the product is exact: sums are
//! 32-bit integers, which are then scaled in f32.

/// Defines a unit's `dots`, which calls its `row_dots` for the format and for 1 to 4 tokens.
#[cfg(any(
    all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")),
    all(target_arch = "aarch64", target_feature = "neon")
))]
macro_rules! define_dots {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn dots(
            format: DType,
            rows: &[u8],
            row_bytes: usize,
            x: &Rounded,
            tokens: Range<usize>,
            out: &mut [f32],
        ) {
            by_format!(format, format_dots::<_>(rows, row_bytes, x, tokens, out));
        }

        #[target_feature(enable = $features)]
        fn format_dots<F: Format>(rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
            let row = |t: usize| x.row(tokens.start + t);
            match tokens.len() {
                1 => token_dots::<F, 1>(rows, row_bytes, [row(0)], out),
                2 => token_dots::<F, 2>(rows, row_bytes, [row(0), row(1)], out),
                3 => token_dots::<F, 3>(rows, row_bytes, [row(0), row(1), row(2)], out),
                4 => token_dots::<F, 4>(rows, row_bytes, [row(0), row(1), row(2), row(3)], out),
                _ => panic!("1 to 4 tokens"),
            }
        }

        #[target_feature(enable = $features)]
        fn token_dots<F: Format, const T: usize>(rows: &[u8], row_bytes: usize, x: [Row<'_>; T], out: &mut [f32]) {
            for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(T)) {
                row_dots::<F, T>(row, x, out);
            }
        }
    };
}

/// Defines a unit's `multiply`, which calls its `format_multiply` for whether the halves of a block differ and for the bytes
/// of an activation that are not 0 throughout.
#[cfg(any(
    all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")),
    all(target_arch = "aarch64", target_feature = "neon")
))]
macro_rules! define_multiply {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(super) fn multiply(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
            assert_eq!(panel.blocks, x.blocks, "rows as long as those of the panel");
            match (panel.halves, x.coarse) {
                (false, false) => format_multiply::<false, 2>(panel, x, y),
                (false, true) => format_multiply::<false, 1>(panel, x, y),
                (true, false) => format_multiply::<true, 2>(panel, x, y),
                (true, true) => format_multiply::<true, 1>(panel, x, y),
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
mod avx2;
mod formats;
#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
mod groups;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
mod panel;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
mod vnni;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub(crate) use panel::Panel;

use crate::cpu::Tile;
use crate::dtype::DType;
use alloc::{vec, vec::Vec};

/// Elements of a block, for weights and activations.
pub(crate) const BLOCK: usize = 32;
/// Outputs of a group, which a panel stores together.
pub(crate) const GROUP: usize = 16;
/// Largest magnitude of a rounded activation.
const LARGEST: f32 = 32512.0;
/// Blocks whose largest activation is at most this round to 0, since their scales would leave the range of f32.
const SMALLEST: f32 = 1e-30;
/// Blocks whose scales are computed together; scales and sums of a row are padded with zeros to a multiple of it.
const TOGETHER: usize = 8;

/// A byte product instruction that this processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes {
    unit: Unit,
    coarse: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    Portable,
    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
    Avx2,
    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
    Vnni,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

/// Rows of activations rounded to 16 bits.
pub(crate) struct Rounded {
    blocks: usize,
    /// True where activations were rounded to one byte, which leaves the low bytes 0.
    coarse: bool,
    /// Integers of each row, in the unit's own layout. The default layout takes blocks
    /// in pairs and stores their high bytes, then their low bytes, interleaving four
    /// bytes of each block: `[pairs, 2, 8, 2, 4]`, with the last pair padded.
    q: Vec<i8>,
    /// Scale of each block of each row.
    scale: Vec<f32>,
    /// Scale times the sum of the integers of each half of a block: for [`TOGETHER`] blocks the first halves, then the
    /// second halves.
    sum: Vec<f32>,
    /// Scale times the sum of all integers of a block.
    total: Vec<f32>,
}

/// One row of [`Rounded`].
#[derive(Clone, Copy)]
struct Row<'a> {
    /// True where activations were rounded to one byte, which leaves the low bytes 0.
    #[allow(dead_code, reason = "only AVX2 stores other rows then")]
    coarse: bool,
    q: &'a [i8],
    scale: &'a [f32],
    sum: &'a [f32],
    total: &'a [f32],
}

/// One row of [`Rounded`] to be filled by one task.
pub(crate) struct RowMut<'a> {
    coarse: bool,
    q: &'a mut [i8],
    scale: &'a mut [f32],
    sum: &'a mut [f32],
    total: &'a mut [f32],
}

impl Row<'_> {
    /// Panics if the row has fewer blocks.
    #[inline(always)]
    fn holds(&self, blocks: usize) {
        let padded = blocks.next_multiple_of(TOGETHER);
        let whole = self.q.len() >= blocks.next_multiple_of(2) * 2 * BLOCK;
        assert!(whole && self.scale.len() >= padded && self.sum.len() >= 2 * padded, "a row of x");
    }

    /// Returns scale times the sum of the integers of block `b`, or with `HALVES` of one half of it.
    ///
    /// # Safety
    /// The row has this block.
    #[inline(always)]
    #[allow(dead_code, reason = "targets without a unit for packed weights do not call it")]
    unsafe fn sum<const HALVES: bool>(&self, b: usize, half: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { if HALVES { *self.sum.get_unchecked(place(b, half)) } else { *self.total.get_unchecked(b) } }
    }
}

impl RowMut<'_> {
    /// Stores the scale of block `b` and the sums of the integers of its halves.
    #[inline(always)]
    fn set(&mut self, b: usize, scale: f32, sums: [i32; 2]) {
        self.scale[b] = scale;
        let sums = sums.map(|sum| scale * sum as f32);
        for (half, sum) in sums.into_iter().enumerate() {
            self.sum[place(b, half)] = sum;
        }
        self.total[b] = sums[0] + sums[1];
    }
}

/// Returns the index in `sum` of a half of block `b`.
#[inline(always)]
fn place(b: usize, half: usize) -> usize {
    (b / TOGETHER * 2 + half) * TOGETHER + b % TOGETHER
}

impl Rounded {
    fn new(rows: usize, inputs: usize, coarse: bool) -> Self {
        let blocks = inputs / BLOCK;
        let padded = blocks.next_multiple_of(TOGETHER);
        Self {
            blocks,
            coarse,
            q: vec![0; rows * blocks.next_multiple_of(2) * 2 * BLOCK],
            scale: vec![0.0; rows * padded],
            sum: vec![0.0; rows * 2 * padded],
            total: vec![0.0; rows * padded],
        }
    }

    fn width(&self) -> usize {
        self.blocks.next_multiple_of(2) * 2 * BLOCK
    }

    fn row(&self, t: usize) -> Row<'_> {
        let (width, padded) = (self.width(), self.blocks.next_multiple_of(TOGETHER));
        Row {
            coarse: self.coarse,
            q: &self.q[t * width..][..width],
            scale: &self.scale[t * padded..][..padded],
            sum: &self.sum[t * 2 * padded..][..2 * padded],
            total: &self.total[t * padded..][..padded],
        }
    }

    /// Returns every row, to be filled.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = RowMut<'_>> {
        let (width, padded) = (self.width().max(1), self.blocks.next_multiple_of(TOGETHER).max(1));
        let sums = self.sum.chunks_exact_mut(2 * padded).zip(self.total.chunks_exact_mut(padded));
        let scales = self.scale.chunks_exact_mut(padded).zip(sums);
        let coarse = self.coarse;
        let row = move |(q, (scale, (sum, total)))| RowMut { coarse, q, scale, sum, total };
        self.q.chunks_exact_mut(width).zip(scales).map(row)
    }
}

/// Calls the unit's own version of a function.
macro_rules! on {
    ($unit:expr, $name:ident($($arg:expr),*)) => {
        match $unit {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Unit::Portable => portable::$name($($arg),*),
            // SAFETY: a unit exists only if its features have been detected.
            #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
            Unit::Avx2 => unsafe { avx2::$name($($arg),*) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
            Unit::Vnni => unsafe { vnni::$name($($arg),*) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Unit::Neon => unsafe { neon::$name($($arg),*) },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Unit::Simd128 => wasm::$name($($arg),*),
        }
    };
}

impl Bytes {
    /// Portable version, for every processor; slower than products in f32.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    pub const PORTABLE: Bytes = Bytes::of(Unit::Portable);

    const fn of(unit: Unit) -> Self {
        Self { unit, coarse: false }
    }

    /// Rounds activations to one byte instead of two: an error of 4e-3 of each block's largest activation. Products of many
    /// tokens take half of the time with VNNI and with Arm's dot products, and with AVX2 for weights of up to 5 bits. On a
    /// tile unit, `linear` rounds both sides of such products to bf16: an error of 2^-8 of each number.
    pub fn coarse(self) -> Self {
        Self { coarse: true, ..self }
    }

    /// Returns memory for rows of activations, which are rounded by [`round`](Self::round).
    pub(crate) fn rounded(self, rows: usize, inputs: usize) -> Rounded {
        Rounded::new(rows, inputs, self.coarse)
    }

    /// Returns the processor's units that are faster than products in f32, fastest first.
    #[allow(unused_mut, clippy::vec_init_then_push, reason = "some processors have none")]
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
        {
            let units = [
                (Unit::Vnni, has!("avx512f", "avx512bw", "avx512vl", "avx512vnni", "avx2", "fma", "f16c")),
                (Unit::Avx2, has!("avx2", "fma", "f16c")),
            ];
            all.extend(units.into_iter().filter(|(_, there)| *there).map(|(unit, _)| Bytes::of(unit)));
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        {
            #[cfg(feature = "std")]
            let there = std::arch::is_aarch64_feature_detected!("dotprod");
            #[cfg(not(feature = "std"))]
            let there = cfg!(target_feature = "dotprod");
            all.extend(there.then_some(Bytes::of(Unit::Neon)));
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        all.push(Bytes::of(Unit::Simd128));
        all
    }

    /// Returns the processor's fastest unit, if one is faster than products in f32.
    pub fn detect() -> Option<Self> {
        Self::available().into_iter().next()
    }

    /// Returns whether weights of a format can be multiplied.
    pub fn takes(format: DType) -> bool {
        matches!(
            format,
            DType::Q8_0
                | DType::Q4_0
                | DType::Q4_1
                | DType::Q5_0
                | DType::Q5_1
                | DType::Q4K
                | DType::Q5K
                | DType::Q6K
                | DType::Q2K
                | DType::Q3K
                | DType::IQ4NL
                | DType::IQ4XS
                | DType::MXFP4
                | DType::Q8F
        )
    }

    /// Rounds `x` into a row with the same number of blocks.
    pub(crate) fn round(self, x: &[f32], row: RowMut<'_>) {
        on!(self.unit, round(x, row));
    }

    /// Writes `out[n, t] = x[tokens[t]] . row n`, for weight rows of `row_bytes` each and 1 to 4 tokens.
    pub(crate) fn dots(
        self,
        format: DType,
        rows: &[u8],
        row_bytes: usize,
        x: &Rounded,
        tokens: core::ops::Range<usize>,
        out: &mut [f32],
    ) {
        on!(self.unit, dots(format, rows, row_bytes, x, tokens, out));
    }

    /// Returns the maximum number of tokens whose products with weights in their storage format are faster than packing.
    pub(crate) fn unpacked(self) -> usize {
        match self.unit {
            #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
            Unit::Avx2 | Unit::Vnni => 4,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Unit::Simd128 => 1,
            #[allow(unreachable_patterns, reason = "some processors have no other")]
            _ => 8,
        }
    }

    /// Packs rows of weights of `row_bytes` each into a panel, at most as many rows as it was created for.
    pub(crate) fn pack(self, format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
        on!(self.unit, pack(format, rows, row_bytes, panel));
    }

    /// Writes `y[t, n] = x[t] . w[n]` for every row of `y` and every output of the panel.
    pub(crate) fn multiply(self, panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
        on!(self.unit, multiply(panel, x, y));
    }
}

#[cfg(test)]
mod tests;
