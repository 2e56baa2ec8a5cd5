//! The arguments of an op.

use crate::dtype::DType;
use crate::error::{Error, Result};
use alloc::vec::Vec;

/// The access of an op to an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// The op reads the argument and writes nothing.
    Read,
    /// The op writes all of the argument and reads nothing.
    Write,
    /// The op reads the argument and writes a part.
    ReadWrite,
}

impl Access {
    /// Returns whether the op writes the argument.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// One argument of an op.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Arg {
    /// The name in case files, in Rust and in WGSL.
    pub name: &'static str,
    /// The format of the elements.
    pub dtype: DType,
    /// Row-major shape, for messages and case files.
    pub shape: Vec<u32>,
    /// Elements that the op may touch: the product of `shape`, or more where rows stand apart.
    pub elements: u32,
    /// How the op uses the argument.
    pub access: Access,
    /// Rows that this tensor may be cut into when it is larger than a binding: `(rows, bytes of a row)`.
    pub rows: Option<(u32, u64)>,
}

impl Arg {
    /// A dense argument; `shape` has been checked to have at most `u32::MAX` elements.
    pub fn new(name: &'static str, dtype: DType, shape: &[u32], access: Access) -> Self {
        // A factor of 0 may stand behind others that overflow.
        let elements = if shape.contains(&0) { 0 } else { shape.iter().product() };
        Self { name, dtype, shape: shape.to_vec(), elements, access, rows: None }
    }

    /// The same with `elements` in place of the product of the shape.
    pub fn spanning(mut self, elements: u32) -> Self {
        self.elements = elements;
        self
    }

    /// Bytes that the argument needs.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes(self.elements as u64).expect("a validated spec has whole blocks")
    }
}

/// Checks that `lengths`, in bytes, hold the arguments of `op`.
pub fn fit(op: &'static str, args: &[Arg], lengths: &[u64]) -> Result<()> {
    if args.len() != lengths.len() {
        return Err(Error::Shape {
            op,
            arg: "arguments",
            expected: alloc::format!("{:?}", args.iter().map(|a| a.name).collect::<Vec<_>>()),
            got: alloc::format!("{} of them", lengths.len()),
        });
    }
    for (arg, &length) in args.iter().zip(lengths) {
        if length < arg.bytes() {
            return Err(Error::Shape {
                op,
                arg: arg.name,
                expected: alloc::format!("{:?} of {} in {} bytes", arg.shape, arg.dtype, arg.bytes()),
                got: alloc::format!("{length} bytes"),
            });
        }
    }
    Ok(())
}
