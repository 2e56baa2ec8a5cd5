//! Codes of a byte with scales beside them: FP8 becomes `F8`, signed bytes become `Q8F`, each with the scale of its block in
//! front. Rows that are no whole blocks become f32.

use super::{Recipe, ScaleType, push_q8_f};
use foveate_kernels::dtype::DType;
use foveate_kernels::quant;
use std::ops::Range;

const BLOCK: usize = 32;

/// What a byte means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Code {
    E4m3,
    Int8,
}

/// Inputs: codes `[matrices, rows, width]`, scales `[matrices, grid[0], grid[1]]`.
pub(in super::super) struct Scaled {
    pub(in super::super) code: Code,
    pub(in super::super) width: u64,
    /// Rows of each matrix.
    pub(in super::super) of: u64,
    /// Rows and columns that share a scale.
    pub(in super::super) block: [u64; 2],
    /// Rows and columns of the scales of a matrix.
    pub(in super::super) grid: [u64; 2],
    pub(in super::super) scales: ScaleType,
    /// Divisor of all scales.
    pub(in super::super) divisor: f32,
}

impl Scaled {
    /// Returns the format of the result.
    pub(in super::super) fn format(&self) -> DType {
        let whole = self.width.is_multiple_of(BLOCK as u64);
        let apart = self.block[1] >= self.width || self.block[1].is_multiple_of(BLOCK as u64);
        match self.code {
            _ if !(whole && apart) => DType::F32,
            Code::E4m3 => DType::F8,
            Code::Int8 => DType::Q8F,
        }
    }

    /// Returns the row of scales of a row of codes.
    fn scale_row(&self, row: u64) -> u64 {
        row / self.of * self.grid[0] + (row % self.of / self.block[0]).min(self.grid[0] - 1)
    }
}

impl Recipe for Scaled {
    fn needs(&self, rows: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let size = self.grid[1] * self.scales.bytes();
        let (first, last) = (self.scale_row(rows.start), self.scale_row(rows.end - 1));
        vec![(0, rows.start * self.width..rows.end * self.width), (1, first * size..(last + 1) * size)]
    }

    fn rows(&self, rows: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let (scales, format) = (self.scales.decode(&parts[1]), self.format());
        let (first, grid) = (self.scale_row(rows.start), self.grid[1] as usize);
        let mut out = Vec::new();
        for (row, codes) in rows.zip(parts[0].chunks_exact(self.width as usize)) {
            let scales = &scales[(self.scale_row(row) - first) as usize * grid..][..grid];
            if self.code == Code::E4m3 && codes.iter().any(|q| q & 0x7f == 0x7f) {
                return Err(format!("row {row} has a weight that is NaN"));
            }
            let scale = |i: usize| scales[(i / self.block[1] as usize).min(grid - 1)] / self.divisor;
            if format == DType::F32 {
                let number = |q: u8| if self.code == Code::E4m3 { quant::e4m3(q) } else { f32::from(q as i8) };
                out.extend(codes.iter().enumerate().flat_map(|(i, q)| (scale(i) * number(*q)).to_le_bytes()));
                continue;
            }
            for (b, codes) in codes.chunks_exact(BLOCK).enumerate() {
                let d = scale(b * BLOCK);
                if format == DType::Q8F {
                    push_q8_f([d; 2], codes.iter().map(|q| *q as i8), &mut out);
                } else {
                    out.extend_from_slice(&d.to_le_bytes());
                    out.extend_from_slice(codes);
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two matrices of three rows, whose scales cover two rows and 64 columns each.
    #[test]
    fn scales_belong_to_blocks_of_rows_and_columns() {
        for (width, format) in [(96, DType::F8), (70, DType::F32)] {
            let scales = ScaleType::Known(DType::F32);
            let (block, grid) = ([2, 64], [2, 2]);
            let recipe = Scaled { code: Code::E4m3, width, of: 3, block, grid, scales, divisor: 1.0 };
            assert_eq!(recipe.format(), format);
            // Row 4 is row 1 of the second matrix, row 5 is alone in a block.
            let needs = recipe.needs(4..6);
            assert_eq!(needs, [(0, 4 * width..6 * width), (1, 16..32)]);
            let scales: Vec<u8> = [1.0f32, 2.0, 4.0, 8.0].iter().flat_map(|d| d.to_le_bytes()).collect();
            // 0x38 is 1.
            let out = recipe.rows(4..6, &[vec![0x38; 2 * width as usize], scales]).expect("two rows");
            let mut values = vec![0.0; 2 * width as usize];
            quant::decode(format, &out, &mut values);
            let at = |row: usize, i: usize| values[row * width as usize + i];
            assert_eq!([at(0, 0), at(0, 63), at(0, 64), at(1, 63), at(1, 69)], [1.0, 1.0, 2.0, 4.0, 8.0]);
        }
    }
}
