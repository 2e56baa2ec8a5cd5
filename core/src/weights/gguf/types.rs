//! ggml's tensor types.

use std::borrow::Cow;

use foveate_kernels::dtype::DType;

use crate::weights::Stored;

/// Number in the file, name, elements and bytes of a block.
type Row = (u32, &'static str, Option<(u64, u64)>);

/// Source: `GGML_QUANT_SIZES` of gguf-py. Types that occur
/// in no file, or whose block has changed, stand without a size.
const TYPES: [Row; 34] = [
    (0, "F32", Some((1, 4))),
    (1, "F16", Some((1, 2))),
    (2, "Q4_0", Some((32, 18))),
    (3, "Q4_1", Some((32, 20))),
    (6, "Q5_0", Some((32, 22))),
    (7, "Q5_1", Some((32, 24))),
    (8, "Q8_0", Some((32, 34))),
    (9, "Q8_1", None),
    (10, "Q2_K", Some((256, 84))),
    (11, "Q3_K", Some((256, 110))),
    (12, "Q4_K", Some((256, 144))),
    (13, "Q5_K", Some((256, 176))),
    (14, "Q6_K", Some((256, 210))),
    (15, "Q8_K", Some((256, 292))),
    (16, "IQ2_XXS", Some((256, 66))),
    (17, "IQ2_XS", Some((256, 74))),
    (18, "IQ3_XXS", Some((256, 98))),
    (19, "IQ1_S", Some((256, 50))),
    (20, "IQ4_NL", Some((32, 18))),
    (21, "IQ3_S", Some((256, 110))),
    (22, "IQ2_S", Some((256, 82))),
    (23, "IQ4_XS", Some((256, 136))),
    (24, "I8", Some((1, 1))),
    (25, "I16", Some((1, 2))),
    (26, "I32", Some((1, 4))),
    (27, "I64", Some((1, 8))),
    (28, "F64", Some((1, 8))),
    (29, "IQ1_M", Some((256, 56))),
    (30, "BF16", Some((1, 2))),
    (34, "TQ1_0", Some((256, 54))),
    (35, "TQ2_0", Some((256, 66))),
    (39, "MXFP4", Some((32, 17))),
    (40, "NVFP4", None),
    (41, "Q1_0", None),
];

fn find(number: u32) -> Option<&'static Row> {
    TYPES.iter().find(|(known, ..)| *known == number)
}

/// Elements and bytes of a block, where they are known.
pub(super) fn block(number: u32) -> Option<(u64, u64)> {
    find(number)?.2
}

/// Returns the storage type of a type number in the tensor table.
pub(super) fn stored(number: u32) -> Stored {
    Stored::Known(match number {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        6 => DType::Q5_0,
        7 => DType::Q5_1,
        8 => DType::Q8_0,
        10 => DType::Q2K,
        11 => DType::Q3K,
        12 => DType::Q4K,
        13 => DType::Q5K,
        14 => DType::Q6K,
        20 => DType::IQ4NL,
        23 => DType::IQ4XS,
        26 => DType::I32,
        30 => DType::BF16,
        39 => DType::MXFP4,
        _ => {
            return Stored::Other(match find(number) {
                Some((_, name, _)) => Cow::Borrowed(*name),
                None => Cow::Owned(format!("ggml type {number}")),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_kernels_know_have_the_blocks_of_ggml() {
        let mut known = 0;
        for (number, name, block) in TYPES {
            if let Stored::Known(dtype) = stored(number) {
                assert_eq!(block, Some((dtype.block_len().into(), dtype.block_bytes().into())), "{name}");
                assert_eq!(name.to_lowercase(), dtype.name());
                known += 1;
            }
        }
        assert_eq!(known, 17);
    }
}
