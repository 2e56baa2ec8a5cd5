//! A model with some of its tensors changed: a coprocessor's file over the files of its base.
//!
//! The file is safetensors. Its `__metadata__` has `base`, the fingerprint of the base model's files. Beside
//! `soft_tokens` it holds changed tensors under the names that the base's files have, or `NAME.lora_a [r, in]` and
//! `NAME.lora_b [out, r]`, which add `alpha / r` of their product to a matrix; `alpha` is in the metadata, and is `r` if it
//! is not.

use super::SOFT_TOKENS;
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, TensorInfo};
use foveate_kernels::quant;

/// The checkpoint of `base` with the tensors that `file` changes.
///
/// # Errors
/// `WrongBase` for a file that was made for another model; `MissingTensor` and `TensorShape` for changes of tensors that
/// the base has not, or has in another shape; `UnsupportedTensorType`.
pub async fn overlay(base: Checkpoint, file: Checkpoint) -> Result<Checkpoint> {
    let expected = base.fingerprint().await?;
    let got = file.note("base").unwrap_or("none").to_string();
    if got != expected {
        return Err(Error::WrongBase { expected, got });
    }
    let alpha = file.note("alpha").map(|text| {
        let number = text.parse::<f32>().ok().filter(|x| x.is_finite());
        number.ok_or_else(|| Error::format("alpha", "it is no finite number"))
    });
    let alpha = alpha.transpose()?;
    let mut merged = Vec::new();
    for a in file.tensors().filter(|t| t.name.ends_with(".lora_a")) {
        let name = a.name.trim_end_matches(".lora_a");
        let found = base.get(name).ok_or_else(|| Error::MissingTensor { name: name.into(), shape: a.shape.clone() })?;
        merged.push((name.to_string(), found.shape.clone(), low_rank(&base, found, &file, a, alpha).await?));
    }
    let plain = |name: &str| name != SOFT_TOKENS && !name.ends_with(".lora_a") && !name.ends_with(".lora_b");
    let changed: Vec<TensorInfo> = file.tensors().filter(|t| plain(&t.name)).cloned().collect();
    for tensor in &changed {
        base.require(&tensor.name, &tensor.shape)?;
        tensor.dtype()?;
    }
    base.replacing(file, changed)?.with_values(merged)
}

/// `W + scale B A` in f32.
async fn low_rank(
    base: &Checkpoint,
    tensor: &TensorInfo,
    file: &Checkpoint,
    a: &TensorInfo,
    alpha: Option<f32>,
) -> Result<Vec<f32>> {
    let &[out, inputs] = tensor.shape.as_slice() else {
        return Err(Error::TensorShape { name: tensor.name.clone(), expected: vec![0, 0], got: tensor.shape.clone() });
    };
    let rank = a.shape.first().copied().unwrap_or(0);
    let a = file.require(&a.name, &[rank, inputs])?;
    let b = file.require(&format!("{}.lora_b", tensor.name), &[out, rank])?;
    let (mut w, a, b) = (values(base, tensor).await?, values(file, a).await?, values(file, b).await?);
    if rank == 0 {
        return Ok(w);
    }
    let scale = alpha.map_or(1.0, |alpha| alpha / rank as f32);
    let (rank, inputs) = (rank as usize, inputs as usize);
    for (row, b) in w.chunks_exact_mut(inputs.max(1)).zip(b.chunks_exact(rank)) {
        for (&b, a) in b.iter().zip(a.chunks_exact(inputs.max(1))) {
            row.iter_mut().zip(a).for_each(|(w, a)| *w += scale * b * a);
        }
    }
    Ok(w)
}

/// A tensor in f32.
async fn values(file: &Checkpoint, tensor: &TensorInfo) -> Result<Vec<f32>> {
    let format = tensor.dtype()?;
    if !format.is_weight() {
        return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype: format.name().into() });
    }
    let bytes = file.read(tensor, 0, tensor.bytes).await?;
    let mut values = vec![0.0; tensor.elements() as usize];
    quant::decode(format, &bytes, &mut values);
    Ok(values)
}
