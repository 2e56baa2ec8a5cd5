//! The ops of a model, known before its weights are loaded.

use crate::error::Result;
use crate::model::{Files, Model};
use crate::sample::{Sampler, Sampling};
use crate::session::Session;
use foveate_kernels::ops::Op;
use std::sync::Arc;

/// Tokens that the steps of an outline have room for.
const CONTEXT: u32 = 2048;

/// Tokens of steps whose forms differ on some device.
const STEPS: [u32; 5] = [1, 8, 32, 128, 512];

/// The ops that reading prompts, decoding and choosing tokens run, from the headers of the files alone: enough to try and
/// to compile kernels while weights are on their way.
///
/// # Errors
/// As [`Model::load`] for a model that does not fit its configuration.
pub async fn outline(files: &Files) -> Result<Vec<Op>> {
    let model = Model::hollow(files).await?;
    let context = CONTEXT.min(model.config().context);
    let vocab = model.config().vocab;
    // Not shared between threads: a session wants it so.
    #[allow(clippy::arc_with_non_send_sync)]
    let session = Session::new(Arc::new(model), context)?;
    let steps: Vec<u32> = STEPS.into_iter().filter(|tokens| *tokens <= context).collect();
    let mut ops = session.ops(&steps)?;
    let drawn = Sampling { temperature: 1.0, repetition_penalty: 1.1, ..Sampling::default() };
    for sampling in [Sampling::default(), drawn] {
        ops.push(Sampler::new(sampling)?.next(vocab).into());
    }
    Ok(ops)
}
