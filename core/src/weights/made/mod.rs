//! Tensors that are computed from others of the files while they are read: formats without kernels become ones with
//! kernels. A [`Recipe`] says which bytes it needs for some rows, and computes them; it reads nothing itself.

mod blocks;
#[cfg(feature = "grids")]
mod grids;
mod grouped;
mod normal;
mod pairs;
mod scaled;
mod ternary;

pub(super) use blocks::block_recipe;
pub(super) use grouped::{Grouped, Layout};
pub(super) use normal::{Nested, Normal};
pub(super) use pairs::Pairs;
pub(super) use scaled::{Code, Scaled};
pub(super) use ternary::Ternary;

use super::tensor::{Stored, TensorInfo};
use crate::error::{Error, Result};
use crate::send::{MaybeSend, MaybeSync};
use foveate_kernels::dtype::DType;
use foveate_kernels::quant;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// How the rows of a tensor follow from the bytes of others.
pub(super) trait Recipe: MaybeSend + MaybeSync {
    /// Returns the bytes that rows of the result need: for each part an input, and the range of its bytes.
    fn needs(&self, rows: Range<u64>) -> Vec<(usize, Range<u64>)>;

    /// Computes rows from the bytes that [`needs`](Self::needs) asked for.
    ///
    /// # Errors
    /// What is wrong with the values, without the tensor's name.
    fn rows(&self, rows: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String>;

    /// True if all rows are computed at once, because each needs bytes from all over its inputs.
    fn at_once(&self) -> bool {
        false
    }
}

/// A tensor that is computed from others.
pub(super) struct Made {
    recipe: Box<dyn Recipe>,
    inputs: Vec<TensorInfo>,
    rows: u64,
    row_bytes: u64,
    /// All rows, where they are computed at once; dropped when the last of them is read.
    kept: Mutex<Option<Arc<Vec<u8>>>>,
}

impl Made {
    /// Returns the tensor `name` of `format`, made from `inputs`; the place of its file is that of the first input until a
    /// checkpoint takes it.
    ///
    /// # Errors
    /// [`Error::Format`] if rows are no whole blocks or the sizes overflow.
    pub(super) fn new(
        name: String,
        format: DType,
        shape: Vec<u64>,
        recipe: impl Recipe + 'static,
        inputs: Vec<TensorInfo>,
    ) -> Result<(TensorInfo, Self)> {
        let width = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().rev().skip(1).product();
        let row_bytes = format.bytes(width).filter(|bytes| *bytes > 0);
        let sizes = row_bytes.and_then(|row| Some((row, row.checked_mul(rows)?)));
        let Some((row_bytes, bytes)) = sizes.filter(|_| rows > 0 && !inputs.is_empty()) else {
            return Err(Error::format(name, format!("shape {shape:?} is no matrix of {format}")));
        };
        let (file, offset) = (inputs[0].file, inputs[0].offset);
        let info = TensorInfo { name, stored: Stored::Known(format), shape, file, offset, bytes };
        Ok((info, Self { recipe: Box::new(recipe), inputs, rows, row_bytes, kept: Mutex::default() }))
    }

    /// Returns the tensors of the files that it is made from.
    pub(super) fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// Returns the bytes of the tensor.
    pub(super) fn len(&self) -> u64 {
        self.rows * self.row_bytes
    }

    /// Returns the rows to compute for a range of bytes.
    pub(super) fn rows_of(&self, offset: u64, len: u64) -> Range<u64> {
        match self.recipe.at_once() {
            true => 0..self.rows,
            false => offset / self.row_bytes..(offset + len).div_ceil(self.row_bytes),
        }
    }

    /// Returns the ranges of bytes that rows need, each with the tensor that holds it.
    pub(super) fn needs(&self, rows: Range<u64>) -> Vec<(&TensorInfo, Range<u64>)> {
        self.recipe.needs(rows).into_iter().map(|(input, range)| (&self.inputs[input], range)).collect()
    }

    /// Returns a range of bytes if all rows are in memory; the last byte frees them.
    pub(super) fn kept(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.as_ref()?.get(offset as usize..(offset + len) as usize)?.to_vec();
        if offset + len == self.len() {
            *kept = None;
        }
        Some(bytes)
    }

    /// Computes rows and returns a range of bytes in them.
    ///
    /// # Errors
    /// [`Error::Format`] that names the first input.
    pub(super) fn bytes(&self, rows: Range<u64>, parts: &[Vec<u8>], offset: u64, len: u64) -> Result<Vec<u8>> {
        let first = rows.start * self.row_bytes;
        let all = self.recipe.rows(rows, parts).map_err(|reason| Error::format(&self.inputs[0].name, reason))?;
        if !self.recipe.at_once() {
            let from = (offset - first) as usize;
            return Ok(all[from..from + len as usize].to_vec());
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(all));
        let gone = || Error::format(&self.inputs[0].name, "it has fewer rows than its shape says");
        self.kept(offset, len).ok_or_else(gone)
    }
}

/// The types that scales are stored in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ScaleType {
    Known(DType),
    /// Powers of two: `2^(b - 127)` of a byte `b`.
    Power,
    /// Floats of eight bits, e4m3.
    E4m3,
}

impl ScaleType {
    /// Returns the type of a tensor of scales, if it is one of them.
    pub(super) fn of(tensor: &TensorInfo) -> Option<Self> {
        match &tensor.stored {
            Stored::Known(dtype @ (DType::F32 | DType::F16 | DType::BF16)) => Some(Self::Known(*dtype)),
            Stored::Other(name) if matches!(&**name, "U8" | "F8_E8M0") => Some(Self::Power),
            Stored::Other(name) if *name == "F8_E4M3" => Some(Self::E4m3),
            _ => None,
        }
    }

    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Known(dtype) => dtype.block_bytes().into(),
            Self::Power | Self::E4m3 => 1,
        }
    }

    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Known(dtype) => {
                let mut values = vec![0.0; bytes.len() / dtype.block_bytes() as usize];
                quant::decode(dtype, bytes, &mut values);
                values
            }
            Self::Power => bytes.iter().map(|b| 2f64.powi(i32::from(*b) - 127) as f32).collect(),
            Self::E4m3 => bytes.iter().map(|b| quant::e4m3(*b)).collect(),
        }
    }
}

/// Appends 32 signed numbers that share a scale as a block of `Q8F`.
fn push_q8_f(scales: [f32; 2], levels: impl IntoIterator<Item = i8>, out: &mut Vec<u8>) {
    scales.iter().for_each(|d| out.extend_from_slice(&d.to_le_bytes()));
    out.extend(levels.into_iter().map(|q| q as u8));
}
