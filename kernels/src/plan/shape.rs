//! The letters that shapes are written in, and checked arithmetic on them.
//!
//! Tensors are row-major. A *row stride* is the distance between consecutive rows in elements; it lets an op read or
//! write a part of a wider row, as the queries inside a fused `[T, (H + 2 G) D]` product.

use crate::error::{Error, Result};
use alloc::{format, string::String};

/// Every letter with its meaning. Settings go by these letters, and shapes in documentation, shaders and cases are written
/// in them.
pub const GLOSSARY: &[(&str, &str)] = &[
    ("B", "batch: sequences"),
    ("T", "query tokens, or rows of a dense op"),
    ("S", "key tokens"),
    ("H", "heads of queries"),
    ("G", "heads of keys and values"),
    ("HV", "heads of values in the delta rule"),
    ("D", "key dimension of a head"),
    ("V", "value dimension of a head"),
    ("K", "inputs of a dense product; in the delta rule, the key dimension of a head"),
    ("N", "outputs of a dense product; segments that are merged; in the delta rule, sequences"),
    ("C", "clusters: lists of a head; inside the chunked forms of the delta rule, tokens of a chunk"),
    ("W", "window"),
    ("E", "entries: places of a head's lists"),
    ("M", "memory slots of a list"),
    ("P", "pages of a pool"),
];

/// The product of `dims`, at most `u32::MAX`: kernels index with 32 bits.
// A copy in each `validate` would be 100 copies of what makes the message.
#[inline(never)]
pub fn elements(op: &'static str, arg: &'static str, dims: &[u32]) -> Result<u32> {
    dims.iter().try_fold(1u32, |product, &d| product.checked_mul(d)).ok_or_else(|| Error::Shape {
        op,
        arg,
        expected: String::from("at most 4294967295 elements"),
        got: format!("{dims:?}"),
    })
}

/// Elements that `rows` rows of `width` take when they stand `stride` apart: `(rows - 1) stride + width`, 0 for no rows.
#[inline(never)]
pub fn strided(op: &'static str, arg: &'static str, rows: u32, stride: u32, width: u32) -> Result<u32> {
    if stride < width {
        return Err(Error::Shape {
            op,
            arg,
            expected: format!("a row stride of at least {width}"),
            got: format!("{stride}"),
        });
    }
    if rows == 0 {
        return Ok(0);
    }
    (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(width)).ok_or_else(|| Error::Shape {
        op,
        arg,
        expected: String::from("at most 4294967295 elements"),
        got: format!("{rows} rows {stride} apart"),
    })
}

/// An error unless `ok`.
pub fn require(
    ok: bool,
    op: &'static str,
    arg: &'static str,
    expected: impl Into<String>,
    got: impl core::fmt::Display,
) -> Result<()> {
    if ok { Ok(()) } else { Err(refused(op, arg, expected.into(), &got)) }
}

#[cold]
#[inline(never)]
fn refused(op: &'static str, arg: &'static str, expected: String, got: &dyn core::fmt::Display) -> Error {
    Error::Shape { op, arg, expected, got: format!("{got}") }
}
