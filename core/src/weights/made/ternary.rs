//! BitNet's packed ternary matrices: four outputs in a byte, one scale for all.

use super::Recipe;
use foveate_kernels::dtype::DType;
use half::f16;
use std::ops::Range;

/// Elements of a block of `Q2K`, and of `NF4`, of whose numbers three are -1, 0 and 1.
const LARGE: u64 = 256;
const SMALL: u64 = 32;
/// The codes of -1, 0 and 1 in `NF4`.
const CODES: [u8; 3] = [0, 7, 15];

/// Input: bytes `[rows / 4, width]`, whose bits `2 p` and `2 p + 1` in row `r` are 1 more than the number in row
/// `p rows / 4 + r` of the result.
pub(in super::super) struct Ternary {
    pub(in super::super) rows: u64,
    pub(in super::super) width: u64,
    pub(in super::super) scale: f32,
}

impl Ternary {
    /// Returns the format of the result: `Q2K` holds scales in f16, `NF4` all others.
    pub(in super::super) fn format(&self) -> DType {
        let half = f16::from_f32(self.scale).to_f32() == self.scale;
        match self.width {
            width if width.is_multiple_of(LARGE) && half => DType::Q2K,
            width if width.is_multiple_of(SMALL) => DType::NF4,
            _ => DType::F32,
        }
    }
}

impl Recipe for Ternary {
    fn needs(&self, _: Range<u64>) -> Vec<(usize, Range<u64>)> {
        vec![(0, 0..self.rows / 4 * self.width)]
    }

    fn rows(&self, rows: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let scale = self.scale;
        let (packed, width) = (self.rows / 4, self.width as usize);
        let mut out = Vec::new();
        for row in rows {
            let from = (row % packed) as usize * width;
            let numbers: Vec<u8> =
                parts[0][from..from + width].iter().map(|byte| byte >> (2 * (row / packed)) & 3).collect();
            if numbers.contains(&3) {
                return Err(format!("row {row} has a code of 3: ternary numbers have 0, 1 and 2"));
            }
            match self.format() {
                DType::Q2K => {
                    let d = f16::from_f32(scale).to_le_bytes();
                    numbers.chunks_exact(LARGE as usize).for_each(|q| push_q2_k(d, q, &mut out));
                }
                DType::NF4 => {
                    for q in numbers.chunks_exact(SMALL as usize) {
                        let code = |i: usize| CODES[usize::from(q[i])];
                        out.extend_from_slice(&scale.to_le_bytes());
                        out.extend((0..16).map(|i| code(i) | code(i + 16) << 4));
                    }
                }
                _ => out.extend(numbers.iter().flat_map(|q| (scale * (f32::from(*q) - 1.0)).to_le_bytes())),
            }
        }
        Ok(out)
    }

    fn at_once(&self) -> bool {
        true
    }
}

/// Appends a block of `Q2K` with the numbers `d (q - 1)`: its scales and its offsets are all `d`.
pub(super) fn push_q2_k(d: [u8; 2], q: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x11; 16]);
    for half in q.chunks_exact(128) {
        out.extend((0..32).map(|i| half[i] | half[i + 32] << 2 | half[i + 64] << 4 | half[i + 96] << 6));
    }
    out.extend_from_slice(&d);
    out.extend_from_slice(&d);
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::quant;

    #[test]
    fn packed_outputs_lie_a_quarter_apart() {
        for (width, scale, format) in
            [(256, 4.0, DType::Q2K), (64, 4.0, DType::NF4), (256, 0.1, DType::NF4), (7, 4.0, DType::F32)]
        {
            let recipe = Ternary { rows: 8, width, scale };
            assert_eq!(recipe.format(), format);
            // Codes of 0, 1, 2, 0 in row 0 and of 1, 2, 0, 1 in row 1 of the bytes.
            let bytes = [vec![0b00_10_01_00; width as usize], vec![0b01_00_10_01; width as usize]].concat();
            let out = recipe.rows(0..8, &[bytes]).expect("eight rows");
            let mut values = vec![0.0; 8 * width as usize];
            quant::decode(format, &out, &mut values);
            let column: Vec<f32> = values.iter().step_by(width as usize).map(|x| x / scale).collect();
            assert_eq!(column, [-1.0, 0.0, 0.0, 1.0, 1.0, -1.0, -1.0, 0.0]);
        }
    }
}
