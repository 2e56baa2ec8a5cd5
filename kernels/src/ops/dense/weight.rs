//! Weights `[rows, dim]` in any format: their check, their argument, and how shaders read them.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::part;
use crate::plan::shader::Part;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg, Caps};
use alloc::{format, vec, vec::Vec};

/// Checks a `[rows, dim]` weight of `format`.
pub(crate) fn check_weight(op: &'static str, format: DType, rows: u32, dim: u32) -> Result<()> {
    if !format.is_weight() {
        return Err(Error::Unsupported { op, what: format!("a weight of {format}") });
    }
    let block = format.block_len();
    require(dim.is_multiple_of(block), op, "weight", format!("rows of a multiple of {block} ({format})"), dim)?;
    elements(op, "weight", &[rows, dim])?;
    Ok(())
}

/// The argument `weight [rows, dim]`, which may be cut between rows.
pub(crate) fn weight_arg(format: DType, rows: u32, dim: u32) -> Arg {
    let mut arg = Arg::new("weight", format, &[rows, dim], Access::Read);
    arg.rows = format.bytes(u64::from(dim)).map(|bytes| (rows, bytes));
    arg
}

/// Returns the parts that decode `[rows, width]` weights, and the bytes of the array element they bind.
pub(crate) fn weight_parts(format: DType, width: u32) -> (Vec<Part>, u32) {
    let aligned = width.is_multiple_of(8);
    let half = |decode| {
        if aligned {
            (vec![decode, part!("plan/parts/weights/half.wgsl")], 16)
        } else {
            (vec![decode, part!("plan/parts/weights/half_ragged.wgsl"), part!("plan/parts/weights/ragged.wgsl")], 4)
        }
    };
    let blocks = |parts: &[Part]| ([&[part!("plan/parts/weights/blocks.wgsl")], parts].concat(), 4);
    let numbers = part!("plan/parts/weights/numbers.wgsl");
    let codes = part!("plan/parts/weights/codes.wgsl");
    let iq4 = part!("plan/parts/weights/iq4_table.wgsl");
    match format {
        DType::F16 => half(part!("plan/parts/weights/f16.wgsl")),
        DType::BF16 => half(part!("plan/parts/weights/bf16.wgsl")),
        DType::Q8_0 => blocks(&[part!("plan/parts/weights/q8_0.wgsl")]),
        DType::Q4_0 => blocks(&[part!("plan/parts/weights/q4_0.wgsl"), part!("plan/parts/weights/q4.wgsl")]),
        DType::Q4_1 => blocks(&[part!("plan/parts/weights/q4_1.wgsl"), part!("plan/parts/weights/q4.wgsl")]),
        DType::Q5_0 => blocks(&[part!("plan/parts/weights/q5_0.wgsl"), part!("plan/parts/weights/q5.wgsl")]),
        DType::Q5_1 => blocks(&[part!("plan/parts/weights/q5_1.wgsl"), part!("plan/parts/weights/q5.wgsl")]),
        DType::Q4K => blocks(&[part!("plan/parts/weights/q4_k.wgsl"), part!("plan/parts/weights/k.wgsl")]),
        DType::Q5K => blocks(&[part!("plan/parts/weights/q5_k.wgsl"), part!("plan/parts/weights/k.wgsl")]),
        DType::Q6K => blocks(&[part!("plan/parts/weights/q6_k.wgsl")]),
        DType::Q2K => blocks(&[part!("plan/parts/weights/q2_k.wgsl")]),
        DType::Q3K => blocks(&[part!("plan/parts/weights/q3_k.wgsl")]),
        DType::IQ4NL => blocks(&[part!("plan/parts/weights/iq4_nl.wgsl"), iq4, numbers, codes]),
        DType::IQ4XS => blocks(&[part!("plan/parts/weights/iq4_xs.wgsl"), iq4, numbers, codes]),
        DType::MXFP4 => {
            let table = part!("plan/parts/weights/e2m1_table.wgsl");
            (vec![part!("plan/parts/weights/mxfp4.wgsl"), table, numbers, codes], 4)
        }
        DType::Q8F => blocks(&[part!("plan/parts/weights/q8_f.wgsl")]),
        DType::F8 => blocks(&[part!("plan/parts/weights/f8.wgsl")]),
        DType::NF4 => blocks(&[part!("plan/parts/weights/nf4.wgsl"), codes]),
        _ if aligned => (vec![part!("plan/parts/weights/f32.wgsl")], 16),
        _ => (vec![part!("plan/parts/weights/f32_ragged.wgsl"), part!("plan/parts/weights/ragged.wgsl")], 4),
    }
}

/// Pieces of a weight at most: half a terabyte in WebGPU's default bindings. A plan holds a pass for each piece.
const PIECES: u32 = 4096;

/// Divides a weight into pieces that fit into one binding each: `(first row, rows)`.
pub(crate) fn pieces(op: &'static str, caps: &Caps, rows: u32, row_bytes: u64) -> Result<Vec<(u32, u32)>> {
    let most = caps.rows_per_binding(op, row_bytes)?;
    let count = rows.div_ceil(most);
    if count > PIECES {
        return Err(Error::Limit { op, what: "bindings of a weight", needs: count.into(), has: PIECES.into() });
    }
    Ok((0..count).map(|i| (i * most, most.min(rows - i * most))).collect())
}
