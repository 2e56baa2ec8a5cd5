//! Quantised folders of safetensors: finds the tensors of each matrix, checks them, and replaces them by one of a format with
//! kernels, under the matrix's own name.

mod bytes;
mod grouped;
mod nibbles;

use super::checkpoint::Checkpoint;
use super::made::Made;
use super::tensor::{Stored, TensorInfo};
use crate::error::{Error, Result};

/// How the matrices of a folder are quantised, as its configuration says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// FP8 (e4m3), or signed bytes, with a scale for a matrix, a row, or a block of so many rows and columns.
    Bytes { block: [u64; 2] },
    /// GPTQ; `size` is the inputs of a group, `less` what zeros are stored less.
    Gptq { bits: u32, size: Option<u64>, symmetric: bool, less: u32 },
    /// AWQ of four bits, in the layout of its GEMM kernels.
    Awq { size: Option<u64> },
    /// bitsandbytes, of four or eight bits.
    Bitsandbytes,
    /// BitNet's packed ternary numbers.
    BitNet { divide: bool },
    /// Whole numbers in rows of words, as compressed-tensors packs them.
    Packed { bits: u32, size: Option<u64>, symmetric: bool },
    /// MXFP4 in blocks.
    Mxfp4,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Bytes { .. } => "fp8",
            Self::Gptq { .. } => "gptq",
            Self::Awq { .. } => "awq",
            Self::Bitsandbytes => "bitsandbytes",
            Self::BitNet { .. } => "bitnet",
            Self::Packed { .. } => "compressed-tensors",
            Self::Mxfp4 => "mxfp4",
        }
    }
}

/// A tensor that stands for others.
type Replacement = (TensorInfo, Made);

impl Checkpoint {
    /// The same model with quantised matrices replaced by ones of formats with kernels, which are computed while they are
    /// read.
    ///
    /// # Errors
    /// [`Error::Format`] and [`Error::MissingTensor`] for tensors that are not what the method needs, and what the sources
    /// return.
    pub(crate) async fn quantized(self, method: Option<Method>) -> Result<Self> {
        let all = self.replacements(method).await?;
        self.with_made(all)
    }

    /// The same in files that read as zeros.
    ///
    /// # Errors
    /// As [`quantized`](Self::quantized).
    pub(crate) async fn hollow_quantized(&self, method: Option<Method>) -> Result<Self> {
        let all = self.replacements(method).await?;
        Ok(self.hollow().with_made(all)?.hollow())
    }

    async fn replacements(&self, method: Option<Method>) -> Result<Vec<Replacement>> {
        let mut all = nibbles::pairs(self)?;
        match method {
            None | Some(Method::Mxfp4) => {}
            Some(Method::Bytes { block }) => all.append(&mut bytes::scaled(self, block)?),
            Some(Method::Gptq { bits, size, symmetric, less }) => {
                all.append(&mut grouped::gptq(self, bits, size, symmetric, less).await?);
            }
            Some(Method::Awq { size }) => all.append(&mut grouped::awq(self, size)?),
            Some(Method::Packed { bits, size, symmetric }) => {
                all.append(&mut grouped::packed(self, bits, size, symmetric).await?);
            }
            Some(Method::Bitsandbytes) => {
                all.append(&mut nibbles::bitsandbytes(self).await?);
                all.append(&mut bytes::int8(self)?);
            }
            Some(Method::BitNet { divide }) => all.append(&mut bytes::ternary(self, divide).await?),
        }
        match method {
            Some(method) if all.is_empty() => {
                let reason = format!(
                    "quantization_config names {}, and no tensor is quantised so: remove it if the weights are plain",
                    method.name()
                );
                Err(Error::Config { reason })
            }
            _ => Ok(all),
        }
    }
}

/// The tensors around one of them.
struct Around<'a> {
    files: &'a Checkpoint,
    /// The name without the ending of the first tensor.
    base: &'a str,
}

impl<'a> Around<'a> {
    /// Returns the tensors whose names have an ending, each with what lies around it.
    fn all(files: &'a Checkpoint, ending: &'static str) -> impl Iterator<Item = (Self, &'a TensorInfo)> {
        files.tensors().filter_map(move |tensor| {
            let base = tensor.name.strip_suffix(ending)?;
            Some((Self { files, base }, tensor))
        })
    }

    fn get(&self, ending: &str) -> Option<&'a TensorInfo> {
        self.files.get(&format!("{}{ending}", self.base))
    }

    /// Returns the tensor with an ending, of a shape and one of the types.
    fn require(&self, ending: &str, shape: &[u64], types: &[&str]) -> Result<&'a TensorInfo> {
        let missing = || Error::MissingTensor { name: format!("{}{ending}", self.base), shape: shape.to_vec() };
        let tensor = self.get(ending).ok_or_else(missing)?;
        expect(tensor, shape, types)?;
        Ok(tensor)
    }
}

/// Checks a tensor's shape and type.
fn expect(tensor: &TensorInfo, shape: &[u64], types: &[&str]) -> Result<()> {
    if tensor.shape != shape {
        let (expected, got) = (shape.to_vec(), tensor.shape.clone());
        return Err(Error::TensorShape { name: tensor.name.clone(), expected, got });
    }
    expect_type(tensor, types)
}

fn expect_type(tensor: &TensorInfo, types: &[&str]) -> Result<()> {
    let stored = tensor.stored.to_string();
    match types.iter().any(|known| known.eq_ignore_ascii_case(&stored)) {
        true => Ok(()),
        false => Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype: stored }),
    }
}

fn is(tensor: &TensorInfo, name: &str) -> bool {
    matches!(&tensor.stored, Stored::Other(stored) if *stored == name)
}

/// A size as a shape that does not fit the others.
fn odd(tensor: &TensorInfo, expected: &str) -> Error {
    Error::format(&tensor.name, format!("its shape is {:?}, expected {expected}", tensor.shape))
}

#[cfg(test)]
mod tests;
