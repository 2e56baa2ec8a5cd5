//! The places of matrices and vectors in files.

use std::ops::Range;

/// The name of a matrix or vector in the files, and the rows to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The tensor's name. Files may have it without its first word, such as `model.`. If each head has a tensor of its own,
    /// `{head}` stands for its index. `{expert}` stands for that of an expert in the same way; without it, a tensor of experts
    /// has their number as its first dimension.
    pub name: String,
    /// Stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// The rows of the stored tensor, if several matrices share it.
    pub part: Option<Part>,
}

/// The same outputs of every block of a tensor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The outputs that are meant, in each block.
    pub range: Range<u64>,
    /// Outputs of a block.
    pub of: u64,
    /// Blocks of the tensor.
    pub blocks: u64,
}

impl Place {
    /// A whole tensor, `[out, in]`.
    pub fn plain(name: String) -> Self {
        Self { name, transposed: false, part: None }
    }

    /// Outputs of the tensor, of which `rows` are meant.
    pub(crate) fn stored(&self, rows: u32) -> u64 {
        self.part.as_ref().map_or(rows.into(), |part| part.of * part.blocks)
    }

    /// The outputs that are meant, in order: where each run of them begins, and how many it has.
    pub(crate) fn runs(&self, rows: u32) -> Vec<(u64, u64)> {
        match &self.part {
            None => vec![(0, rows.into())],
            Some(Part { range, of, blocks }) => {
                let count = range.end - range.start;
                match count == *of {
                    true => vec![(0, of * blocks)],
                    false => (0..*blocks).map(|block| (block * of + range.start, count)).collect(),
                }
            }
        }
    }
}
