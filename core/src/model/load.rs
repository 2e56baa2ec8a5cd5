//! Loads the layers of a model from files into an executor's memory. [`tensors`] reads the single tensors.

mod adapters;
mod blocks;
mod classifier;
mod convolved;
mod experts;
mod latent;
mod mixers;
mod mlp;
mod norms;
mod per_layer;
mod recursion;
mod settle;
mod streams;
mod tensors;
mod time_mix;

use super::block::Shared;
use super::decoder::{Decoder, FeedForward, Layer};
use super::distances::{BUCKETS, Distances};
use super::family::{Family, Part, Place, Role};
use super::matrix::Matrix;
use super::mixer::Mixer;
use crate::backend::Backend;
use crate::config;
use crate::config::{Config, Norm as NormConfig};
use crate::error::{Error, Result, one_line};
use crate::weights::{BoxFuture, Checkpoint};
pub(crate) use adapters::Adapted;
use norms::stream_norm;
use std::collections::{BTreeMap, BTreeSet};
use tensors::known;

/// Progress of loading, in bytes of weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that are loaded.
    pub bytes: u64,
    /// Bytes in all.
    pub of: u64,
}

/// A callback for the progress of loading; an error ends it. `Send`, except in a browser.
#[cfg(not(target_arch = "wasm32"))]
pub type Report<'a> = dyn FnMut(Progress) -> Result<()> + Send + 'a;
/// A callback for the progress of loading; an error ends it. `Send`, except in a browser.
#[cfg(target_arch = "wasm32")]
pub type Report<'a> = dyn FnMut(Progress) -> Result<()> + 'a;

/// Reads weights of one model into one executor.
pub(crate) struct Loader<'a, B: Backend> {
    pub(crate) backend: &'a B,
    pub(crate) files: &'a Checkpoint,
    pub(crate) family: &'a Family,
    /// Told after every window; an error ends the loading.
    pub(crate) report: &'a mut Report<'a>,
    pub(crate) progress: Progress,
    /// Nothing of the weights is read: only their shapes and formats matter.
    pub(crate) hollow: bool,
    /// Names of the tensors that were read.
    pub(crate) used: BTreeSet<String>,
    /// Weights of blocks that several layers share, by the layer under whose name they lie.
    pub(crate) blocks: BTreeMap<u32, Shared<B>>,
    /// Products of adapters that were loaded.
    pub(crate) adapted: Adapted,
    /// Lends its embedding and its head, which are not read then.
    pub(crate) shared: Option<&'a Decoder<B>>,
}

impl<'a, B: Backend> Loader<'a, B> {
    /// Loads the model.
    ///
    /// # Errors
    /// `MissingTensor`, `TensorShape` and `UnsupportedTensorType` for tensors that do not fit the configuration,
    /// `UnusedTensors` if there are more than it has a place for; what the files, the executor and `report` return.
    // The future is boxed, so that a crate that loads a model calls this function and does not compile the loader again.
    pub(crate) fn decoder(self) -> BoxFuture<'a, Result<Decoder<B>>> {
        Box::pin(self.whole())
    }

    async fn whole(mut self) -> Result<Decoder<B>> {
        let family = self.family;
        let mut config = self.settled(&family.config).await?;
        self.progress.of = self.files.tensors().filter(|t| !family.ignores(&t.name)).map(|t| t.bytes).sum();
        let width = config.embed_dim.unwrap_or(config.dim);
        let embedding = match self.shared {
            Some(of) => of.embedding.share(None),
            None => self.matrix(&[(family.weight(Role::Embedding, 0), None, config.vocab)], width).await?,
        };
        let positions = match config.learned_positions {
            true => {
                let mut place = family.weight(Role::Positions, 0);
                let (first, rows) = (u64::from(config.position_offset), u64::from(config.position_rows()));
                if first > 0 {
                    place.part = Some(Part { range: first..first + rows, of: first + rows, blocks: 1 });
                }
                Some(self.matrix(&[(place, None, config.position_rows())], config.input_dim()).await?)
            }
            false => None,
        };
        let types = match config.token_types {
            Some(rows) => {
                Some(self.matrix(&[(family.weight(Role::TokenTypes, 0), None, rows)], config.input_dim()).await?)
            }
            None => None,
        };
        let widen = match config.embed_dim {
            Some(_) => {
                let bias = config.narrow_input.then(|| family.bias(Role::ProjectIn, 0));
                Some(self.matrix(&[(family.weight(Role::ProjectIn, 0), bias, config.dim)], width).await?)
            }
            None => None,
        };
        let narrow = match config.embed_dim.filter(|_| !config.narrow_input) {
            Some(_) => Some(self.matrix(&[(family.weight(Role::ProjectOut, 0), None, width)], config.dim).await?),
            None => None,
        };
        let distances = match config.layers.first().and_then(|layer| layer.mixer.attention()) {
            Some(a) if config.distance_bias => {
                let table = self.values(&family.weight(Role::Distances, 0), BUCKETS, &[a.heads]).await?;
                Some(Distances { table, heads: a.heads })
            }
            _ => None,
        };
        let embed_norm = match config.embed_norm {
            Some(norm) => Some(self.norm(Role::EmbedNorm, 0, norm, config.input_dim()).await?),
            None => None,
        };
        let per_layer = match &config.per_layer {
            Some(of) => Some(self.vectors(&config, of).await?),
            None => None,
        };
        let streams = match &config.streams {
            Some(of) => Some(self.streams(&config, of).await?),
            None => None,
        };
        let recursion = match config.recursion {
            Some(of) => Some(self.recursion(&config, of).await?),
            None => None,
        };
        let source = |index: usize| config.recursion.map_or(index, |of| of.source(index));
        let mut layers: Vec<Option<Layer<B>>> = config.layers.iter().map(|_| None).collect();
        for index in self.order(layers.len()).into_iter().filter(|index| source(*index) == *index) {
            layers[index] = Some(self.layer(&config, index).await?);
        }
        for index in 0..layers.len() {
            if layers[index].is_none() {
                layers[index] = layers[source(index)].as_ref().map(|layer| layer.again(&config.layers[index]));
            }
        }
        let layers = layers.into_iter().flatten().collect();
        let final_norm = match config.final_norm {
            Some(norm) => {
                let scale = config.logit_scale;
                Some(self.scaled_norm(Role::FinalNorm, 0, stream_norm(norm, &config), config.dim, scale).await?)
            }
            None => None,
        };
        let transform = match config.transform {
            Some(transform) => self.transform(&config, transform).await?,
            None => None,
        };
        let head = family.weight(Role::Head, 0);
        let bias = config.head_bias.then(|| family.bias(Role::Head, 0));
        // What a file stores counts, whatever its flag says: some models were untied and kept the flag.
        let tied = config.tied != Some(false) && known(self.files, &head.name).is_none();
        let without = match config.transform {
            Some(_) => transform.is_none(),
            None => !tied && known(self.files, &head.name).is_none(),
        };
        let head = if let Some(of) = self.shared {
            of.head.as_ref().map(Matrix::again)
        } else if config.headless && without {
            None
        } else if tied || self.same(&family.weight(Role::Embedding, 0), &head) {
            Some(embedding.share(self.bias(bias, config.vocab).await?))
        } else {
            Some(self.matrix(&[(head, bias, config.vocab)], width).await?)
        };
        let classifier = match config.classifier {
            Some(of) => Some(self.classifier(of, config.dim).await?),
            None => None,
        };
        let mut pooled_dense = Vec::new();
        for (at, [inputs, outputs]) in config.pooled_dense.iter().enumerate() {
            pooled_dense.push(self.product(Role::PooledDense, at, [*outputs, *inputs], false).await?);
        }
        self.all_used()?;
        self.files.adapters.all_used(&self.adapted.used)?;
        config.adapters = self.adapted.sizes;
        self.backend.submit()?;
        Ok(Decoder {
            config,
            embedding,
            positions,
            types,
            widen,
            narrow,
            distances,
            embed_norm,
            per_layer,
            streams,
            recursion,
            layers,
            final_norm,
            transform,
            head,
            classifier,
            pooled_dense,
        })
    }

    /// The layer in front of the output product, if the files hold it.
    async fn transform(
        &mut self,
        config: &Config,
        transform: config::Transform,
    ) -> Result<Option<super::decoder::Transform<B>>> {
        let (inner, dim) = (config.input_dim(), config.dim);
        let rows = self.rows(Role::Transform, 0, inner, transform.bias);
        if config.headless && !self.has(&rows.0) {
            return Ok(None);
        }
        let dense = self.matrix(&[rows], dim).await?;
        let norm = self.norm(Role::TransformNorm, 0, transform.norm, inner).await?;
        Ok(Some(super::decoder::Transform { kind: transform.kind, dense, norm }))
    }

    /// Refuses tensors that nobody asked for: a model without them is another one.
    fn all_used(&self) -> Result<()> {
        let left = self.files.names().filter(|name| !self.used.contains(*name) && !self.family.ignores(name));
        let left: Vec<&str> = left.collect();
        if let Some(missing) = self.family.foreign(&self.used) {
            return Err(Error::Config { reason: format!("the prediction head has no tensor {missing}") });
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(Error::UnusedTensors {
                architecture: self.family.config.architecture.clone(),
                names: left.iter().take(3).map(|name| one_line(name)).collect(),
                count: left.len(),
            }),
        }
    }

    /// The layers as the files have them, often 0, 1, 10, 11: what is read in that order is read once.
    fn order(&self, layers: usize) -> Vec<usize> {
        let place = |index: usize| {
            let name = known(self.files, &self.family.weight(Role::Output, index).name)?;
            self.files.get(&name).map(|tensor| (tensor.file, tensor.offset))
        };
        let mut order: Vec<usize> = (0..layers).collect();
        order.sort_by_key(|&index| place(index));
        order
    }

    async fn layer(&mut self, config: &Config, index: usize) -> Result<Layer<B>> {
        let (layer, dim) = (&config.layers[index], config.dim);
        let stream = |norm: Option<NormConfig>| norm.map(|norm| stream_norm(norm, config));
        let input_norm = self.norm_if(Role::InputNorm, index, stream(layer.input_norm), dim).await?;
        let mixer = match &layer.mixer {
            config::Mixer::Attention(a) => Mixer::Attention(self.attention(a, index, [dim; 2]).await?),
            config::Mixer::Delta(d) => Mixer::Delta(self.delta(d, index, dim).await?),
            config::Mixer::Routing(r) => Mixer::Routing(self.routing(r, index, dim).await?),
            config::Mixer::ShortConv(c) => Mixer::ShortConv(self.short_conv(c, index, dim).await?),
            config::Mixer::Scan(s) => Mixer::Scan(self.scan(s, index, dim).await?),
            config::Mixer::Both(a, s) => {
                let attention = self.attention(a, index, [dim; 2]).await?;
                Mixer::Both(attention, self.scan(s, index, dim).await?)
            }
            config::Mixer::Fed(block, s) => {
                let block = self.block(block, index, dim).await?;
                Mixer::Fed(Box::new(block), self.scan(s, index, dim).await?)
            }
            config::Mixer::TimeMix(mix) => Mixer::TimeMix(Box::new(self.time_mix(mix, index, dim).await?)),
            config::Mixer::None => Mixer::None,
        };
        let post_norm = self.norm_if(Role::PostNorm, index, stream(layer.post_norm), dim).await?;
        let mlp = match &layer.mlp {
            config::FeedForward::Mlp(mlp) => {
                FeedForward::Mlp(self.mlp(*mlp, [Role::Gate, Role::Up, Role::Down], index, dim).await?)
            }
            config::FeedForward::Experts(experts) => FeedForward::Experts(self.experts(experts, index, dim).await?),
            config::FeedForward::None => FeedForward::None,
        };
        let branch_norms = self.norms([Role::MixedNorm, Role::MlpNorm], index, layer.branch_norm, dim).await?;
        let sum_norms = self.norms([Role::MixedSumNorm, Role::MlpSumNorm], index, layer.sum_norm, dim).await?;
        let per_layer = match &config.per_layer {
            Some(of) => Some(self.vector_branch(of, index, dim).await?),
            None => None,
        };
        let factor = if layer.scaled { self.layer_factor(index).await? } else { 1.0 };
        let updates = match &config.streams {
            Some(of) => Some(self.updates(of, index, dim).await?),
            None => None,
        };
        let low_rank = match layer.low_rank {
            Some(of) => Some(self.low_rank(of, index, dim).await?),
            None => None,
        };
        let shift = if layer.shifted { Some(self.shift(index, dim).await?) } else { None };
        Ok(Layer {
            input_norm,
            mixer,
            post_norm,
            mlp,
            branch_norms,
            sum_norms,
            parallel: layer.parallel,
            per_layer,
            factor,
            updates,
            low_rank,
            shift,
        })
    }

    /// `rows` outputs of a layer's product, with or without a bias.
    fn rows(&self, role: Role, layer: usize, rows: u32, bias: bool) -> (Place, Option<Place>, u32) {
        let place = self.own(role, layer, "bias");
        let bias = bias && (!self.family.by_tensors || self.has(&place));
        (self.own(role, layer, "weight"), bias.then_some(place), rows)
    }

    /// The place of a role: a tensor of its own, or if there is none, what the files may have in place of it.
    fn own(&self, role: Role, layer: usize, kind: &str) -> Place {
        let own = if kind == "weight" { self.family.weight(role, layer) } else { self.family.bias(role, layer) };
        // `ffn_up` holds gates, too, if these have no tensor of their own.
        let first = if matches!(role, Role::Gate | Role::Up) { Role::Gate } else { role };
        if self.has(&self.family.weight(first, layer)) {
            return own;
        }
        self.family.fused(role, layer, kind).filter(|place| self.has(place)).unwrap_or(own)
    }
}
