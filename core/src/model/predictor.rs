//! Heads that predict one more token: multi-token prediction of Qwen3-Next and Qwen3.5.
//!
//! ```text
//! x_i  = fc [norm_e(E t_(i+1)); norm_h(h_i)]      h_i: hidden state of token i, behind the final norm
//! h'_i = norm(layer(x_0 .. x_i))                  head(h'_i): logits of t_(i+2)
//! ```
//! Embedding and head are the model's. The layer attends to all earlier `x`, at the positions of their hidden states. A
//! second token is predicted with `h'` in the place of `h`.

use super::load::{self, Report};
use super::{Files, Model, Place, Progress, Role};
use crate::backend::Backend;
use crate::config::{Config, Norm};
use crate::error::{Error, Result};
use foveate_kernels::norm::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// The beginning of the names of a predictor's tensors.
const TENSORS: &str = "mtp.";

/// The prediction head of a model, which shares its embedding and its output product.
pub struct Predictor<B: Backend> {
    pub(crate) model: Arc<Model<B>>,
    /// `[dim, 2 dim]`
    fc: Vec<f32>,
    embedding_norm: Vec<f32>,
    hidden_norm: Vec<f32>,
    /// The model's own, which makes hidden states of its residual stream.
    final_norm: Vec<f32>,
    norm: Norm,
}

impl<B: Backend> Model<B> {
    /// Loads the prediction head of `files`, which are this model's.
    ///
    /// # Errors
    /// `Config` for files without such a head, for one that is not supported, and for the files of another model; as
    /// [`load`](Self::load).
    pub async fn load_predictor(&self, files: Files, report: &mut Report<'_>) -> Result<Predictor<B>> {
        let refused = |reason: String| Error::Config { reason };
        let has = |name: &str| files.weights.get(&format!("{TENSORS}{name}.weight")).is_some();
        if !["fc", "pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"].iter().all(|name| has(name)) {
            let reason = "the files have no head for multi-token prediction (tensors mtp.*): draft by lookup or with a \
                          smaller model";
            return Err(refused(reason.into()));
        }
        if files.weights.names().any(|name| name.starts_with("mtp.layers.1.")) {
            return Err(refused("prediction heads of more than one layer are not supported".into()));
        }
        let family = files.family.predictor()?;
        let (dim, config) = (family.config.dim, self.config());
        if [dim, family.config.vocab] != [config.dim, config.vocab] {
            return Err(refused(format!(
                "the prediction head is not one of this model: {dim} wide, not {}",
                config.dim
            )));
        }
        let weights = files.weights.quantized(family.quantized).await?;
        let mut loader = load::Loader {
            backend: self.backend(),
            files: &weights,
            family: &family,
            report,
            progress: Progress { bytes: 0, of: 0 },
            hollow: false,
            used: BTreeSet::new(),
            blocks: BTreeMap::new(),
            adapted: load::Adapted::default(),
            shared: Some(&self.decoder),
        };
        let norm = config.final_norm.filter(|norm| norm.kind == Kind::Rms && norm.weight && !norm.bias);
        let norm = norm.ok_or_else(|| refused("prediction heads need a root-mean-square norm".into()))?;
        let final_norm = loader.values(&files.family.weight(Role::FinalNorm, 0), dim, &[]).await?;
        loader.used.clear();
        let place = |name: &str| Place::plain(format!("{TENSORS}{name}.weight"));
        let fc = loader.values(&place("fc"), dim, &[2 * dim]).await?;
        let embedding_norm = loader.values(&place("pre_fc_norm_embedding"), dim, &[]).await?;
        let hidden_norm = loader.values(&place("pre_fc_norm_hidden"), dim, &[]).await?;
        let decoder = loader.decoder().await?;
        let model = Model {
            backend: self.backend.clone(),
            fingerprint: None,
            decoder,
            tokenizer: None,
            template: None,
            ends: self.ends.clone(),
            sampling: None,
            vocabulary: OnceLock::new(),
        };
        Ok(Predictor { model: Arc::new(model), fc, embedding_norm, hidden_norm, final_norm, norm })
    }
}

impl<B: Backend> Predictor<B> {
    pub(crate) fn config(&self) -> &Config {
        self.model.config()
    }

    /// The hidden states of rows of the model's residual stream, `[tokens, dim]`.
    pub(crate) fn hidden(&self, stream: &[f32]) -> Vec<f32> {
        let scale = self.config().branch_scale;
        let rows = stream.chunks_exact(self.config().dim as usize);
        rows.flat_map(|row| {
            let row: Vec<f32> = row.iter().map(|x| x * scale).collect();
            self.normed(&row, &self.final_norm)
        })
        .collect()
    }

    /// The layer's inputs, `[tokens, dim]`, of embeddings and hidden states.
    pub(crate) fn inputs(&self, embeddings: &[f32], hidden: &[f32]) -> Vec<f32> {
        let dim = self.config().dim as usize;
        let pairs = embeddings.chunks_exact(dim).zip(hidden.chunks_exact(dim));
        pairs
            .flat_map(|(embedding, hidden)| {
                let mut both = self.normed(embedding, &self.embedding_norm);
                both.extend(self.normed(hidden, &self.hidden_norm));
                self.fc.chunks_exact(2 * dim).map(move |row| dot(row, &both))
            })
            .collect()
    }

    fn normed(&self, row: &[f32], weight: &[f32]) -> Vec<f32> {
        let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / row.len().max(1) as f64;
        let (root, plus) = ((mean + f64::from(self.norm.eps)).sqrt(), if self.norm.one_plus { 1.0 } else { 0.0 });
        row.iter().zip(weight).map(|(x, w)| (f64::from(*x) / root * (f64::from(*w) + plus)) as f32).collect()
    }
}

/// A dot product in lanes, so that compilers use vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let (heads, tails) = (a.chunks_exact(LANES).zip(b.chunks_exact(LANES)), a.len() / LANES * LANES);
    for (a, b) in heads {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a[tails..].iter().zip(&b[tails..]).map(|(a, b)| a * b).sum::<f32>()
}
