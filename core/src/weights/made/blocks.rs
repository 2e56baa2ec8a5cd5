//! Formats of GGUF that become others: a block of 256 elements becomes one or several blocks of a format with kernels, which
//! hold the same numbers.
//!
//! | type | numbers | becomes |
//! |---|---|---|
//! | `Q8_K` | `d q[i]`, f32 `d` | `Q8F` |
//! | `TQ1_0`, `TQ2_0` | `d (q[i] - 1)` | `Q2K` |
//! | `IQ3_S` | `d (1 + 2 s) g`, `g` odd and at most 15 | `Q6K` |
//! | `IQ3_XXS`, `IQ2_XXS`, `IQ2_XS`, `IQ2_S` | `d (1/2 + s) g / 4` (or `/ 2`), `g` at most 62 | `Q8F` |
//! | `IQ1_S`, `IQ1_M` | `d (2 s + 1) (8 g ± 1) / 8`, `g` -1, 0 or 1 | `Q8F` |
//!
//! `g` are entries of a grid, eight or four at a time. Source: gguf-py's `quants`, against which the tests hold each.

use super::Recipe;
#[cfg(feature = "grids")]
use super::grids;
use super::push_q8_f;
use super::ternary::push_q2_k;
use foveate_kernels::dtype::DType;
use std::ops::Range;

/// Elements of a block.
const BLOCK: u64 = 256;

/// Appends the blocks that one block becomes.
type Convert = fn(&[u8], &mut Vec<u8>);

/// Name of a type in GGUF, bytes of its block, the format that it becomes, and how.
type Row = (&'static str, usize, DType, Convert);

const ROWS: &[Row] = &[
    ("Q8_K", 292, DType::Q8F, q8_k),
    ("TQ1_0", 54, DType::Q2K, tq1_0),
    ("TQ2_0", 66, DType::Q2K, tq2_0),
    #[cfg(feature = "grids")]
    ("IQ3_S", 110, DType::Q6K, grids::iq3_s),
    #[cfg(feature = "grids")]
    ("IQ3_XXS", 98, DType::Q8F, grids::iq3_xxs),
    #[cfg(feature = "grids")]
    ("IQ2_XXS", 66, DType::Q8F, grids::iq2_xxs),
    #[cfg(feature = "grids")]
    ("IQ2_XS", 74, DType::Q8F, grids::iq2_xs),
    #[cfg(feature = "grids")]
    ("IQ2_S", 82, DType::Q8F, grids::iq2_s),
    #[cfg(feature = "grids")]
    ("IQ1_S", 50, DType::Q8F, grids::iq1_s),
    #[cfg(feature = "grids")]
    ("IQ1_M", 56, DType::Q8F, grids::iq1_m),
];

/// Input: blocks of 256 elements.
pub(in super::super) struct Blocks {
    bytes: usize,
    /// Blocks of a row.
    per_row: u64,
    convert: Convert,
}

/// Returns how a GGUF type with rows of `width` elements becomes another, if it is one that does.
pub(in super::super) fn block_recipe(name: &str, width: u64) -> Option<(DType, Blocks)> {
    let (_, bytes, format, convert) = *ROWS.iter().find(|(known, ..)| *known == name)?;
    width.is_multiple_of(BLOCK).then_some((format, Blocks { bytes, per_row: width / BLOCK, convert }))
}

impl Recipe for Blocks {
    fn needs(&self, rows: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let row = self.per_row * self.bytes as u64;
        vec![(0, rows.start * row..rows.end * row)]
    }

    fn rows(&self, _: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        parts[0].chunks_exact(self.bytes).for_each(|block| (self.convert)(block, &mut out));
        Ok(out)
    }
}

fn q8_k(b: &[u8], out: &mut Vec<u8>) {
    let d = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    b[4..260].chunks_exact(32).for_each(|q| push_q8_f([d; 2], q.iter().map(|q| *q as i8), out));
}

/// Five ternary digits in a byte: the first 160 elements in 32 bytes, 80 in sixteen, and four times four in the last four.
fn tq1_0(b: &[u8], out: &mut Vec<u8>) {
    let mut q = [0; BLOCK as usize];
    for (i, q) in q.iter_mut().enumerate() {
        let (byte, digit) = match i {
            0..160 => (b[i % 32], i / 32),
            160..240 => (b[32 + (i - 160) % 16], (i - 160) / 16),
            _ => (b[48 + (i - 240) % 4], (i - 240) / 4),
        };
        // The byte is a fraction of 256: what is left of it behind `digit` digits, times three, has the next in front.
        let rest = byte.wrapping_mul([1, 3, 9, 27, 81][digit]);
        *q = ((u16::from(rest) * 3) >> 8) as u8;
    }
    push_q2_k([b[52], b[53]], &q, out);
}

fn tq2_0(b: &[u8], out: &mut Vec<u8>) {
    let mut q = [0; BLOCK as usize];
    for (i, q) in q.iter_mut().enumerate() {
        *q = b[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
    }
    push_q2_k([b[64], b[65]], &q, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::quant;

    /// The values of a block of a fixed pattern, with other bytes at some places.
    fn decoded(name: &str, bytes: &[(usize, u8)]) -> Vec<f32> {
        let (format, recipe) = block_recipe(name, BLOCK).expect("a type that is converted");
        let mut block: Vec<u8> = (0..recipe.bytes).map(|i| ((i * 37 + 11) ^ ((i >> 3) * 29)) as u8).collect();
        bytes.iter().for_each(|(at, byte)| block[*at] = *byte);
        let out = recipe.rows(0..1, &[block]).expect("a block");
        let mut values = vec![0.0; BLOCK as usize];
        quant::decode(format, &out, &mut values);
        values
    }

    /// Name, bytes of the block, elements 0, 5, 63, 130, 191 and 255, and the sum of each element times its 1-based index.
    type Case = (&'static str, &'static [(usize, u8)], [f32; 6], f64);

    /// What gguf-py's `dequantize` returns.
    const CASES: &[Case] = &[
        ("TQ1_0", &[(52, 0), (53, 58)], [-0.75, 0.75, 0.0, 0.75, 0.75, 0.75], 3425.25),
        ("TQ2_0", &[(64, 0), (65, 58)], [1.5, -0.75, -0.75, 0.0, 1.5, 1.5], 11873.25),
        #[cfg(feature = "grids")]
        ("IQ3_S", &[(0, 0), (1, 36)], [0.421_875, -0.984_375, -0.234_375, 4.078_125, 3.796_875, 3.953_125], 3322.59375),
        #[cfg(feature = "grids")]
        ("IQ3_XXS", &[(0, 0), (1, 44)], [-23.5625, -12.6875, -10.6875, -6.5625, 11.8125, 3.9375], -24671.625),
        #[cfg(feature = "grids")]
        ("IQ2_XXS", &[(0, 0), (1, 48)], [-6.046_875, -1.125, 15.453_125, -8.734_375, 2.125, -2.375], 4170.390625),
        #[cfg(feature = "grids")]
        ("IQ2_XS", &[(0, 0), (1, 48)], [-3.375, -10.546_875, -1.375, -2.015_625, 2.625, -2.375], -9695.390625),
        #[cfg(feature = "grids")]
        ("IQ2_S", &[(0, 0), (1, 48)], [-11.421_875, 11.421_875, 3.625, 1.125, -5.859_375, -11.328_125], 10731.421875),
        #[cfg(feature = "grids")]
        ("IQ1_S", &[(0, 0), (1, 52)], [0.40625, 0.40625, -0.65625, -0.34375, 0.84375, 0.21875], 1771.5),
        // The scale is in the upper nibbles of four words.
        #[cfg(feature = "grids")]
        (
            "IQ1_M",
            &[(49, 14), (51, 4), (53, 74), (55, 48)],
            [2.40625, 2.40625, 4.21875, -0.65625, -0.34375, 0.03125],
            13007.25,
        ),
    ];

    #[test]
    fn converted_blocks_have_the_values_of_gguf_py() {
        for (name, bytes, elements, weighted) in CASES {
            let values = decoded(name, bytes);
            assert_eq!([0, 5, 63, 130, 191, 255].map(|i| values[i]), *elements, "{name}");
            let got: f64 = values.iter().zip(1..).map(|(&x, i)| f64::from(x) * f64::from(i)).sum();
            assert_eq!(got, *weighted, "{name}");
        }
    }

    #[test]
    fn q8_k_is_bytes_times_a_scale() {
        let d = 0.3f32.to_le_bytes();
        let values = decoded("Q8_K", &[(0, d[0]), (1, d[1]), (2, d[2]), (3, d[3]), (4, 0x80), (259, 0x7f)]);
        assert_eq!((values[0], values[255]), (0.3 * -128.0, 0.3 * 127.0));
    }

    #[test]
    fn rows_of_parts_of_blocks_are_not_converted() {
        assert!(block_recipe("TQ1_0", 128).is_none() && block_recipe("Q9_Z", 256).is_none());
    }
}
