//! MXFP4 as safetensors files hold it: nibbles in the order of the elements, scales beside them. It becomes the blocks of GGUF,
//! whose nibbles are elements `j` and `j + 16`.

use super::Recipe;
use std::ops::Range;

/// Bytes of a block's nibbles.
const BYTES: usize = 16;

/// Inputs: nibbles `[rows, blocks, 16]`, scales `[rows, blocks]`.
pub(in super::super) struct Pairs {
    /// Blocks of a row.
    pub(in super::super) blocks: u64,
}

impl Recipe for Pairs {
    fn needs(&self, rows: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let blocks = rows.start * self.blocks..rows.end * self.blocks;
        vec![(0, blocks.start * BYTES as u64..blocks.end * BYTES as u64), (1, blocks)]
    }

    fn rows(&self, _: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(parts[0].len() + parts[1].len());
        for (q, scale) in parts[0].chunks_exact(BYTES).zip(&parts[1]) {
            let element = |i: usize| q[i / 2] >> (4 * (i % 2)) & 15;
            out.push(*scale);
            out.extend((0..BYTES).map(|j| element(j) | element(j + BYTES) << 4));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::dtype::DType;
    use foveate_kernels::quant;

    #[test]
    fn pairs_become_halves() {
        let block: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
        let out = Pairs { blocks: 1 }.rows(0..1, &[block, vec![126]]).expect("a block");
        let mut values = vec![0.0; 32];
        quant::decode(DType::MXFP4, &out, &mut values);
        // Low nibbles come first; the scale is a half.
        assert_eq!(values[..8], [0.0, -3.0, 0.25, -2.0, 0.5, -1.5, 0.75, -1.0]);
        assert_eq!(values[16..20], [0.0, 3.0, -0.25, 2.0]);
    }
}
