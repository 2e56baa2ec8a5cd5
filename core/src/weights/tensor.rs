//! One tensor of a file: its name, type, shape and place.

use std::borrow::Cow;

use foveate_kernels::dtype::DType;

use crate::error::{Error, Result};

/// How a tensor's elements are stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// A type that buffers and kernels know.
    Known(DType),
    /// Another type, by the name its format gives it: the tensor can be listed, not used.
    Other(Cow<'static, str>),
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stored::Known(dtype) => dtype.fmt(f),
            Stored::Other(name) => f.write_str(name),
        }
    }
}

/// The name, type, shape and byte range of a tensor. The range `offset..offset + bytes` is inside the file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// The format of its elements.
    pub stored: Stored,
    /// Row-major, outermost first, as PyTorch prints it: `[out, in]`. A scalar has no dimensions.
    pub shape: Vec<u64>,
    /// The index of the file, among the checkpoint's files, that holds it.
    pub file: usize,
    /// Bytes from the start of that file.
    pub offset: u64,
    /// Its number of bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// The element type.
    ///
    /// # Errors
    /// [`Error::UnsupportedTensorType`] if no kernel reads it.
    pub fn dtype(&self) -> Result<DType> {
        match &self.stored {
            Stored::Known(dtype) => Ok(*dtype),
            Stored::Other(name) => {
                Err(Error::UnsupportedTensorType { tensor: self.name.clone(), dtype: name.to_string() })
            }
        }
    }

    /// Elements of the tensor. The product cannot overflow: it was checked when the file was opened.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}
