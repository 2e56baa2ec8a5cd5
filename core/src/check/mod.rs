//! Running cases with known results: the files that `foveate check` and the tests read.

mod op;
mod outline;
mod spec;
#[cfg(feature = "gpu")]
mod trial;

pub use op::{case, op};
pub use outline::outline;
#[cfg(feature = "gpu")]
pub use trial::{Fallback, Trial};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::{Files, Model};
use crate::rerank::classify;
use crate::sample::{Sampler, Sampling};
use crate::session::{Input, Session};
use crate::weights::Checkpoint;
use foveate_kernels::testing::{Difference, Tolerance, compare};
use std::sync::Arc;

/// Tolerances of outputs and gradients.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Bounds {
    /// The tolerance of outputs.
    pub output: Tolerance,
    /// The tolerance of gradients.
    pub gradient: Tolerance,
}

impl Bounds {
    /// Tolerances of the reference.
    pub const REFERENCE: Bounds = Bounds { output: Tolerance::REFERENCE, gradient: Tolerance::REFERENCE_GRADIENT };
    /// Tolerances of executors that compute in f32.
    pub const EXECUTOR: Bounds = Bounds { output: Tolerance::EXECUTOR, gradient: Tolerance::EXECUTOR_GRADIENT };
}

/// The result of checking one expectation.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The expectation, as the case names it.
    pub name: String,
    /// True if the model or op meets the expectation.
    pub passed: bool,
    /// The largest error, or the first difference.
    pub detail: String,
}

impl Finding {
    fn compared(name: &str, found: &Difference) -> Self {
        Self { name: name.into(), passed: found.within, detail: found.to_string() }
    }

    fn failed(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), passed: false, detail: detail.into() }
    }
}

/// Compares a model with the logits, hidden states and greedy tokens that `golden` holds: `input_ids [1, T]`, `want.logits
/// [1, T, vocab]`, `want.hidden [1, T, dim]`, `want.greedy [n]`. Of a model that judges texts, `want.logits [1, labels]` are
/// what its head gives, and `token_type_ids [1, T]` say which of two texts a token belongs to.
///
/// # Errors
/// Whatever keeps the model from loading or running, and a case without expectations.
pub async fn model<B: Backend>(
    backend: B,
    files: Files,
    golden: &Checkpoint,
    tolerance: Tolerance,
) -> Result<Vec<Finding>> {
    let model = Arc::new(Model::load(backend, files, &mut |_| Ok(())).await?);
    let ids: Vec<u32> = words(golden, "input_ids").await?;
    let mut findings = Vec::new();
    if golden.get("want.logits").is_some() && model.config().classifier.is_some() {
        let wanted: Vec<f32> = words(golden, "want.logits").await?;
        let parts = match golden.get("token_type_ids") {
            Some(_) => words(golden, "token_type_ids").await?,
            None => vec![0; ids.len()],
        };
        let mut session = Session::new(model.clone(), ids.len() as u32)?;
        let got = classify(&mut session, &ids, &parts).await?;
        findings.push(Finding::compared("logits", &compare(&got, &wanted, tolerance)));
    } else if golden.get("want.logits").is_some() {
        let wanted: Vec<f32> = words(golden, "want.logits").await?;
        let mut got = Vec::new();
        let mut session = Session::new(model.clone(), ids.len() as u32)?;
        session.logits(&ids, |rows| got.extend_from_slice(rows)).await?;
        findings.push(Finding::compared("logits", &compare(&got, &wanted, tolerance)));
    }
    if golden.get("want.hidden").is_some() {
        let wanted: Vec<f32> = words(golden, "want.hidden").await?;
        let mut got = Vec::new();
        let mut session = Session::new(model.clone(), ids.len() as u32)?;
        session.hidden(Input::Tokens(&ids), |rows| got.extend_from_slice(rows)).await?;
        findings.push(Finding::compared("hidden", &compare(&got, &wanted, tolerance)));
    }
    if golden.get("want.greedy").is_some() {
        let wanted: Vec<u32> = words(golden, "want.greedy").await?;
        let mut session = Session::new(model, (ids.len() + wanted.len()) as u32)?;
        let mut sampler = Sampler::new(Sampling::default())?;
        let (mut next, mut got) = (ids, Vec::new());
        while got.len() < wanted.len() {
            let id = session.next(&next, &mut sampler).await?;
            got.push(id);
            next = vec![id];
        }
        let same = got.iter().zip(&wanted).take_while(|(g, w)| g == w).count();
        let detail = format!("{same} of {} tokens equal", wanted.len());
        findings.push(Finding { name: "greedy".into(), passed: got == wanted, detail });
    }
    if findings.is_empty() {
        return Err(Error::Format { what: "case".into(), reason: "it expects nothing".into() });
    }
    Ok(findings)
}

/// A tensor of 32-bit elements.
async fn words<T: bytemuck::Pod>(file: &Checkpoint, name: &str) -> Result<Vec<T>> {
    let missing = || Error::Format { what: "case".into(), reason: format!("{name} is missing") };
    let tensor = file.get(name).ok_or_else(missing)?;
    if tensor.dtype()?.block_bytes() != 4 {
        return Err(Error::UnsupportedTensorType { tensor: name.into(), dtype: tensor.dtype()?.name().into() });
    }
    Ok(bytemuck::pod_collect_to_vec(&file.read(tensor, 0, tensor.bytes).await?))
}
