//! Loads the layers of a model from files into an executor's memory. [`tensors`] reads the single tensors.

mod convolved;
mod experts;
mod norms;
mod tensors;

use super::attention::Attention;
use super::decoder::{Decoder, FeedForward, Layer, Mixer};
use super::delta::{Conv, Delta};
use super::family::{Family, Part, Place, Role};
use super::mlp::Mlp;
use super::routing::Routing;
use crate::backend::Backend;
use crate::config;
use crate::config::{Config, Norm as NormConfig};
use crate::error::{Error, Result, one_line};
use crate::weights::Checkpoint;
use foveate_kernels::rope::{Frequencies, Scaling};
use foveate_kernels::{activation, norm};
use norms::stream_norm;
use std::collections::BTreeSet;
use std::sync::Arc;
use tensors::known;

/// Progress of loading, in bytes of weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub bytes: u64,
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
}

impl<'a, B: Backend> Loader<'a, B> {
    /// Loads the model.
    ///
    /// # Errors
    /// `MissingTensor`, `TensorShape` and `UnsupportedTensorType` for tensors that do not fit the configuration,
    /// `UnusedTensors` if there are more than it has a place for; what the files, the executor and `report` return.
    pub(crate) async fn decoder(mut self) -> Result<Decoder<B>> {
        let family = self.family;
        let config = self.settled(&family.config).await?;
        self.progress.of = self.files.tensors().filter(|t| !family.ignores(&t.name)).map(|t| t.bytes).sum();
        let width = config.embed_dim.unwrap_or(config.dim);
        let embedding = self.matrix(&[(family.weight(Role::Embedding, 0), None, config.vocab)], width).await?;
        let positions = match config.learned_positions {
            true => {
                let mut place = family.weight(Role::Positions, 0);
                let (first, rows) = (u64::from(config.position_offset), u64::from(config.position_rows()));
                if first > 0 {
                    place.part = Some(Part { range: first..first + rows, of: first + rows, blocks: 1 });
                }
                Some(self.matrix(&[(place, None, config.position_rows())], config.dim).await?)
            }
            false => None,
        };
        let types = match config.token_types {
            Some(rows) => Some(self.matrix(&[(family.weight(Role::TokenTypes, 0), None, rows)], config.dim).await?),
            None => None,
        };
        let projections = match config.embed_dim {
            Some(_) => Some((
                self.matrix(&[(family.weight(Role::ProjectIn, 0), None, config.dim)], width).await?,
                self.matrix(&[(family.weight(Role::ProjectOut, 0), None, width)], config.dim).await?,
            )),
            None => None,
        };
        let embed_norm = match config.embed_norm {
            Some(norm) => Some(self.norm(Role::EmbedNorm, 0, norm, config.dim).await?),
            None => None,
        };
        let mut layers: Vec<Option<Layer<B>>> = config.layers.iter().map(|_| None).collect();
        for index in self.order(layers.len()) {
            layers[index] = Some(self.layer(&config, index).await?);
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
        let head = if config.headless && without {
            None
        } else if tied || self.same(&family.weight(Role::Embedding, 0), &head) {
            Some(embedding.share(self.bias(bias, config.vocab).await?))
        } else {
            Some(self.matrix(&[(head, bias, config.vocab)], width).await?)
        };
        self.all_used()?;
        self.backend.submit()?;
        Ok(Decoder {
            config,
            embedding,
            positions,
            types,
            projections,
            embed_norm,
            layers,
            final_norm,
            transform,
            head,
        })
    }

    /// The layer in front of the output product, if the files hold it.
    async fn transform(
        &mut self,
        config: &Config,
        transform: config::Transform,
    ) -> Result<Option<super::decoder::Transform<B>>> {
        let (rows, dim) = (self.rows(Role::Transform, 0, config.dim, transform.bias), config.dim);
        if config.headless && !self.has(&rows.0) {
            return Ok(None);
        }
        let dense = self.matrix(&[rows], dim).await?;
        let norm = self.norm(Role::TransformNorm, 0, transform.norm, dim).await?;
        Ok(Some(super::decoder::Transform { kind: transform.kind, dense, norm }))
    }

    /// The configuration, with what the tensors say where they are to decide.
    async fn settled(&mut self, config: &Config) -> Result<Config> {
        let mut config = config.clone();
        if !self.family.by_tensors {
            return Ok(config);
        }
        self.count_tensors(&mut config);
        let rope = config.layers.iter().find_map(|layer| layer.mixer.attention()?.rope.as_ref());
        let Some(frequencies) = rope.map(|rope| rope.frequencies.clone()) else { return Ok(config) };
        let frequencies = self.divided(frequencies).await?;
        for layer in &mut config.layers {
            if let Some(config::Attention { rope: Some(rope), .. }) = layer.mixer.attention_mut() {
                rope.frequencies.divisors = frequencies.divisors.clone();
                // Layers with a window may have a rotation of their own, which is not stretched.
                if matches!(rope.frequencies.scaling, Scaling::Long { .. }) {
                    rope.frequencies.scaling = frequencies.scaling.clone();
                }
            }
        }
        Ok(config)
    }

    /// Decides on what only the presence of tensors tells: biases, the norms of heads, and a second norm of parallel
    /// branches.
    fn count_tensors(&self, config: &mut Config) {
        let family = self.family;
        let bias = |role, index| {
            let fused = family.fused(role, index, "bias");
            self.has(&family.bias(role, index)) || fused.is_some_and(|place| self.has(&place))
        };
        config.head_bias |= bias(Role::Head, 0);
        for (index, layer) in config.layers.iter_mut().enumerate() {
            let any = |roles: &[Role]| roles.iter().any(|&role| bias(role, index));
            // Files do not say which layers of Qwen's have no experts.
            if let config::FeedForward::Experts(experts) = &layer.mlp
                && let Some(inner) = self.dense(index)
            {
                layer.mlp = config::Mlp { inner, ..experts.each }.into();
            }
            if let config::FeedForward::Mlp(mlp) = &mut layer.mlp {
                mlp.bias = any(&[Role::Gate, Role::Up, Role::Down]);
            }
            if let (true, None) = (layer.parallel, &layer.branch_norm) {
                let [input, post] = [Role::InputNorm, Role::PostNorm].map(|role| self.own(role, index, "weight"));
                layer.post_norm = layer.post_norm.filter(|_| self.has(&post) && post != input);
            }
            let (norm, heads) = (layer.input_norm, &mut layer.mixer);
            if let config::Mixer::Attention(a) = heads {
                a.input_bias = any(&[Role::Query, Role::Key, Role::Value]);
                a.output_bias = any(&[Role::Output]);
                // GLM 4.5 has norms of heads in one of its sizes.
                if family.config.architecture == "glm4moe" && !self.has(&family.weight(Role::QueryNorm, index)) {
                    a.head_norm = None;
                }
                // Layer norms of heads are each head's own, and have no biases.
                let own = norm.filter(|norm| norm.kind == norm::Kind::Layer);
                let there = self.has(&family.weight(Role::QueryNorm, index));
                if let Some(norm) = own.filter(|_| there) {
                    a.head_norm = Some(NormConfig { bias: false, one_plus: false, ..norm });
                    a.norm_over = config::NormOver::OwnHead;
                }
            }
        }
    }

    /// The width of a layer's MLP, if it has one and no router.
    fn dense(&self, index: usize) -> Option<u32> {
        let [router, up] = [Role::Router, Role::Up].map(|role| self.family.weight(role, index));
        let tensor = self.files.get(&known(self.files, &up.name)?).filter(|_| !self.has(&router))?;
        tensor.shape.first().and_then(|rows| u32::try_from(*rows).ok()).filter(|rows| (1..=1 << 24).contains(rows))
    }

    /// Frequencies with the divisors that the files hold.
    async fn divided(&mut self, of: Frequencies) -> Result<Frequencies> {
        if let Scaling::Long { original, .. } = of.scaling {
            let either = [Role::RopeShort, Role::RopeLong].map(|role| self.has(&self.family.weight(role, 0)));
            if self.family.config.architecture == "phi3" && either == [false, false] {
                return Ok(Frequencies { scaling: Scaling::None, ..of });
            }
            let short = self.divisors(Role::RopeShort, of.rotary).await?;
            let long = self.divisors(Role::RopeLong, of.rotary).await?;
            return Ok(Frequencies { scaling: Scaling::Long { short, long, original }, ..of });
        }
        match self.has(&self.family.weight(Role::RopeDivisors, 0)) {
            true => Ok(Frequencies { divisors: Some(self.divisors(Role::RopeDivisors, of.rotary).await?), ..of }),
            false => Ok(of),
        }
    }

    async fn divisors(&mut self, role: Role, rotary: u32) -> Result<Arc<[f32]>> {
        let place = self.family.weight(role, 0);
        let values = self.values(&place, rotary / 2, &[]).await?;
        match values.iter().position(|x| !(x.is_finite() && *x > 0.0)) {
            Some(at) if !self.hollow => {
                Err(Error::format(place.name, format!("element {at} is {}: divisors are positive", values[at])))
            }
            _ => Ok(values.into()),
        }
    }

    /// Refuses tensors that nobody asked for: a model without them is another one.
    fn all_used(&self) -> Result<()> {
        let left = self.files.names().filter(|name| !self.used.contains(*name) && !self.family.ignores(name));
        let left: Vec<&str> = left.collect();
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
            config::Mixer::Attention(a) => Mixer::Attention(self.attention(a, index, dim).await?),
            config::Mixer::Delta(d) => Mixer::Delta(self.delta(d, index, dim).await?),
            config::Mixer::Routing(r) => Mixer::Routing(self.routing(r, index, dim).await?),
            config::Mixer::ShortConv(c) => Mixer::ShortConv(self.short_conv(c, index, dim).await?),
            config::Mixer::Scan(s) => Mixer::Scan(self.scan(s, index, dim).await?),
            config::Mixer::Both(a, s) => {
                let attention = self.attention(a, index, dim).await?;
                Mixer::Both(attention, self.scan(s, index, dim).await?)
            }
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
        Ok(Layer { input_norm, mixer, post_norm, mlp, branch_norms, sum_norms, parallel: layer.parallel })
    }

    /// An MLP by the roles of its gate, its values and its output.
    async fn mlp(&mut self, mlp: config::Mlp, roles: [Role; 3], index: usize, dim: u32) -> Result<Mlp<B>> {
        let [gate, up, down] = roles;
        let [gate, up] = [gate, up].map(|role| self.rows(role, index, mlp.inner, mlp.bias));
        let up = if mlp.gated { self.matrix(&[gate, up], dim).await? } else { self.matrix(&[up], dim).await? };
        let plain = activation::Spec { gated: mlp.gated, ..activation::Spec::new(0, mlp.inner, mlp.kind) };
        let activation = match mlp.kind {
            activation::Kind::Xielu => self.xielu(plain, mlp.numbers, index).await?,
            _ => plain,
        };
        let norm = self.norm_if(Role::InnerNorm, index, mlp.norm, mlp.inner).await?;
        let down = self.scaled(down, index, [dim, mlp.inner], mlp.bias, mlp.scale).await?;
        Ok(Mlp { config: mlp, up, activation, norm, down })
    }

    /// xIELU with the numbers of a layer.
    async fn xielu(
        &mut self,
        plain: activation::Spec,
        numbers: Option<[f64; 4]>,
        index: usize,
    ) -> Result<activation::Spec> {
        let mut values = numbers.unwrap_or([0.0, 0.0, 0.5, -1e-6]);
        let names = if numbers.is_none() { &["alpha_p", "alpha_n", "beta", "eps"][..] } else { &[] };
        for (value, name) in values.iter_mut().zip(names) {
            let place = self.family.number(name, index);
            // The constants are left out of some files, the learned numbers of none.
            if name.starts_with("alpha") || self.has(&place) {
                *value = self.number(&place).await?.into();
            }
        }
        let [p, n, beta, eps] = values;
        let softplus = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
        let (positive, negative) = (softplus(p), beta + softplus(n));
        if ![positive, negative, beta, -eps].iter().all(|x| x.is_finite() && *x >= 0.0) {
            let place = self.family.number("alpha_p", index);
            let reason = format!("xIELU with alpha_p {p}, alpha_n {n}, beta {beta} and eps {eps} is not supported");
            return Err(Error::format(place.name, reason));
        }
        Ok(activation::Spec {
            positive: positive as f32,
            negative: negative as f32,
            linear: beta as f32,
            limit: -eps as f32,
            ..plain
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

    async fn attention(&mut self, a: &config::Attention, index: usize, dim: u32) -> Result<Attention<B>> {
        let (q, kv) = (a.heads * a.dim, a.kv_width());
        let mut input = vec![(Role::Query, q), (Role::Key, kv), (Role::Value, kv)];
        input.extend(a.gated.then_some((Role::MixedGate, q)));
        let mut input: Vec<_> = input.into_iter().map(|(role, n)| self.rows(role, index, n, a.input_bias)).collect();
        input.extend(a.head_gates.then(|| self.rows(Role::MixedGate, index, a.heads, false)));
        let input = self.matrix(&input, dim).await?;
        let head_norms = match a.head_norm {
            Some(norm) => Some((
                self.head_norm(Role::QueryNorm, index, norm, (a, a.heads)).await?,
                self.head_norm(Role::KeyNorm, index, norm, (a, a.kv_heads)).await?,
            )),
            None => None,
        };
        let alibi = match &a.alibi {
            Some(slopes) => Some(self.store("alibi", slopes)?),
            None => None,
        };
        let sinks = match a.sinks {
            true => {
                let sinks = self.values(&self.family.weight(Role::Sinks, index), a.heads, &[]).await?;
                Some(self.store("sinks", &sinks)?)
            }
            false => None,
        };
        let output_norm = self.norm_if(Role::MixedInnerNorm, index, a.output_norm, q).await?;
        let output = self.scaled(Role::Output, index, [dim, q], a.output_bias, a.output_scale).await?;
        Ok(Attention { config: a.clone(), input, head_norms, sinks, alibi, output_norm, output })
    }

    async fn delta(&mut self, d: &config::Delta, index: usize, dim: u32) -> Result<Delta<B>> {
        let (keys, values) = (d.keys(), d.values());
        let mut input = vec![(Role::Query, keys), (Role::Key, keys), (Role::Value, values)];
        input.extend(d.gated.then_some((Role::MixedGate, values)));
        input.push((Role::Beta, d.value_heads));
        input.extend(d.decays.then_some((Role::Decay, d.value_heads)));
        let input: Vec<_> = input.into_iter().map(|(role, n)| self.rows(role, index, n, false)).collect();
        let input = self.matrix(&input, dim).await?;
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (role, rows) in [(Role::QueryConv, keys), (Role::KeyConv, keys), (Role::ValueConv, values)] {
            if d.window == 1 {
                weight.extend(std::iter::repeat_n(1.0, rows as usize));
                continue;
            }
            weight.extend(self.values(&self.family.weight(role, index), rows, &[1, d.window]).await?);
            if d.conv_bias {
                bias.extend(self.values(&self.family.bias(role, index), rows, &[]).await?);
            }
        }
        let weight = self.store("conv", &weight)?;
        let bias = if bias.is_empty() { None } else { Some(self.store("conv", &bias)?) };
        let decay = match d.decays {
            true => {
                let rate = self.values(&self.family.weight(Role::DecayRate, index), d.value_heads, &[]).await?;
                let bias = self.values(&self.family.weight(Role::DecayBias, index), d.value_heads, &[]).await?;
                Some((self.store("decay", &rate)?, self.store("decay", &bias)?))
            }
            false => None,
        };
        let norm = self.norm(Role::HeadNorm, index, d.norm, d.value_dim).await?;
        let output = self.matrix(&[self.rows(Role::Output, index, dim, false)], values).await?;
        Ok(Delta { config: d.clone(), input, conv: Conv { weight, bias }, decay, norm, output })
    }

    async fn routing(&mut self, r: &config::Routing, index: usize, dim: u32) -> Result<Routing<B>> {
        let local = match &r.local {
            Some(a) => Some(self.attention(a, index, dim).await?),
            None => None,
        };
        let input = [Role::Routed, Role::RoutedValue].map(|role| self.rows(role, index, r.width(), false));
        let input = self.matrix(&input, dim).await?;
        let place = self.family.weight(Role::Centroids, index);
        let centroids = self.values(&place, r.heads, &[r.clusters, r.dim]).await?;
        if let Some(at) = centroids.iter().position(|x| !x.is_finite()) {
            return Err(Error::format(place.name, format!("element {at} is {}", centroids[at])));
        }
        let centroids = self.store("centroids", &centroids)?;
        let norm = self.norm(Role::HeadNorm, index, config::Routing::NORM, r.dim).await?;
        let output = self.matrix(&[self.rows(Role::RoutedOutput, index, dim, false)], r.width()).await?;
        Ok(Routing { config: r.clone(), local, input, norm, centroids, output })
    }
}
