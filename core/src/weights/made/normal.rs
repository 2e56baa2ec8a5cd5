//! bitsandbytes' matrices of four bits: NF4 becomes blocks with their scale in front, other tables of codes become f32.

use super::Recipe;
use foveate_kernels::dtype::DType;
use std::ops::Range;

const BLOCK: u64 = 32;

/// Scales that are quantised themselves.
pub(in super::super) struct Nested {
    /// Scales that share one of their own.
    pub(in super::super) block: u64,
    pub(in super::super) offset: f32,
}

/// Inputs: bytes of two elements each, row-major, the first in the high nibble; scales of each `block` elements, in f32, or as
/// codes of a byte if they are nested; the table of 16 codes; nested: the scales of scales, and their table of 256 codes.
pub(in super::super) struct Normal {
    pub(in super::super) width: u64,
    pub(in super::super) elements: u64,
    pub(in super::super) block: u64,
    /// The table is that of [`NORMAL`](foveate_kernels::quant::NORMAL).
    pub(in super::super) normal: bool,
    pub(in super::super) nested: Option<Nested>,
}

impl Normal {
    /// Returns the format of the result.
    pub(in super::super) fn format(&self) -> DType {
        let whole = self.width.is_multiple_of(BLOCK) && self.block.is_multiple_of(BLOCK);
        if whole && self.normal { DType::NF4 } else { DType::F32 }
    }
}

impl Recipe for Normal {
    fn needs(&self, rows: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let (first, last) = (rows.start * self.width, rows.end * self.width);
        let scales = first / self.block..last.div_ceil(self.block);
        let mut needs = vec![(0, first / 2..last.div_ceil(2))];
        match &self.nested {
            None => needs.extend([(1, 4 * scales.start..4 * scales.end), (2, 0..64)]),
            Some(nested) => {
                let all = self.elements.div_ceil(self.block).div_ceil(nested.block);
                needs.extend([(1, scales), (2, 0..64), (3, 0..4 * all), (4, 0..1024)]);
            }
        }
        needs
    }

    fn rows(&self, rows: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let floats = |part: usize| -> Vec<f32> {
            parts[part].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        let first = rows.start * self.width;
        let first_scale = first / self.block;
        let scales: Vec<f32> = match &self.nested {
            None => floats(1),
            Some(nested) => {
                let (outer, table) = (floats(3), floats(4));
                let scale = |(i, q): (u64, &u8)| {
                    table[usize::from(*q)] * outer[((first_scale + i) / nested.block) as usize] + nested.offset
                };
                (0..).zip(&parts[1]).map(scale).collect()
            }
        };
        // Elements count from the first byte that was read, which holds two.
        let skipped = first % 2;
        let code = |i: u64| {
            let i = i + skipped;
            parts[0][(i / 2) as usize] >> (4 * (1 - i % 2)) & 15
        };
        let scale = |i: u64| scales[((first + i) / self.block - first_scale) as usize];
        let count = (rows.end - rows.start) * self.width;
        let mut out = Vec::new();
        if self.format() == DType::F32 {
            let table = floats(2);
            out.extend((0..count).flat_map(|i| (scale(i) * table[usize::from(code(i))]).to_le_bytes()));
            return Ok(out);
        }
        for from in (0..count).step_by(BLOCK as usize) {
            out.extend_from_slice(&scale(from).to_le_bytes());
            out.extend((from..from + 16).map(|i| code(i) | code(i + 16) << 4));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::quant;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn high_nibbles_come_first() {
        for (width, normal) in [(64, true), (64, false), (33, true)] {
            let recipe = Normal { width, elements: 4 * width, block: 64, normal, nested: None };
            let codes = |i: u64| (i * 7 % 16) as usize;
            let packed: Vec<u8> = (0..2 * width).map(|i| (codes(2 * i) << 4 | codes(2 * i + 1)) as u8).collect();
            let scales: Vec<f32> = (0..(4 * width).div_ceil(64)).map(|i| i as f32 + 0.5).collect();
            let all = [packed, bytes(&scales), bytes(&quant::NORMAL)];
            let parts: Vec<Vec<u8>> = recipe
                .needs(1..3)
                .into_iter()
                .map(|(input, range)| all[input][range.start as usize..range.end as usize].to_vec())
                .collect();
            let out = recipe.rows(1..3, &parts).expect("two rows");
            let mut values = vec![0.0; 2 * width as usize];
            quant::decode(recipe.format(), &out, &mut values);
            for (i, value) in (width..).zip(values) {
                assert_eq!(value, scales[(i / 64) as usize] * quant::NORMAL[codes(i)], "{i}");
            }
        }
    }

    #[test]
    fn nested_scales_are_decoded() {
        let nested = Some(Nested { block: 2, offset: 0.25 });
        let recipe = Normal { width: 64, elements: 256, block: 64, normal: true, nested };
        let table: Vec<f32> = (0..256).map(|i| i as f32 / 128.0).collect();
        let parts = [vec![0xff; 32], vec![64], bytes(&quant::NORMAL), bytes(&[2.0, 3.0]), bytes(&table)];
        // Row 2 has the scale 2, which is the first of the second pair.
        let out = recipe.rows(2..3, &parts).expect("a row");
        assert_eq!(out[..4], 1.75f32.to_le_bytes());
    }
}
