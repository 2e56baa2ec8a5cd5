//! What only the presence of tensors tells about a model, and the divisors of its rotation.

use super::Loader;
use super::tensors::known;
use crate::backend::Backend;
use crate::config::{self, Config, Norm as NormConfig};
use crate::error::{Error, Result};
use crate::model::family::{self, Role};
use foveate_kernels::norm;
use foveate_kernels::rope::{Frequencies, Scaling};
use std::sync::Arc;

impl<B: Backend> Loader<'_, B> {
    /// The configuration, with what the tensors say where they are to decide.
    pub(super) async fn settled(&mut self, config: &Config) -> Result<Config> {
        let mut config = config.clone();
        if self.family.is_gguf() {
            self.judges(&mut config)?;
        }
        if !self.family.by_tensors {
            return Ok(config);
        }
        self.count_tensors(&mut config);
        // Gemma 4's divisors leave out a part of the heads of layers that see all, and of those alone.
        let gemma4 = config.architecture == "gemma4";
        let divided = |a: &config::Attention| !(gemma4 && a.window.is_some());
        let attentions = config.layers.iter().filter_map(|layer| layer.mixer.attention());
        let rope = attentions.filter(|a| divided(a)).find_map(|a| a.rope.as_ref());
        let Some(frequencies) = rope.map(|rope| rope.frequencies.clone()) else { return Ok(config) };
        let frequencies = self.divided(frequencies).await?;
        for layer in &mut config.layers {
            let Some(attention) = layer.mixer.attention_mut().filter(|a| divided(a)) else { continue };
            if let Some(rope) = &mut attention.rope {
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
    pub(super) fn count_tensors(&self, config: &mut Config) {
        let family = self.family;
        let bias = |role, index| {
            let fused = family.fused(role, index, "bias");
            self.has(&family.bias(role, index)) || fused.is_some_and(|place| self.has(&place))
        };
        config.head_bias |= bias(Role::Head, 0);
        config.token_types = config.token_types.and_then(|_| self.count(Role::TokenTypes, 0));
        if let (Some(of), Some(rows)) = (&mut config.per_layer, self.count(Role::LayerTable, 0)) {
            of.vocab = rows;
        }
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
            layer.scaled &= self.has(&family.weight(Role::LayerFactor, index));
            if let (Some(of), Some(rank)) = (&mut layer.low_rank, self.count(Role::LowRankIn, index)) {
                of.rank = rank;
            }
            let (norm, heads) = (layer.input_norm, &mut layer.mixer);
            if let config::Mixer::Attention(a) = heads {
                a.input_bias = any(&[Role::Query, Role::Key, Role::Value, Role::Latent, Role::QueryLatent]);
                a.output_bias = any(&[Role::Output]);
                // Gemma 4's layers that see all may have no product of values.
                let own = a.shared.is_none() && !self.has(&family.weight(Role::Value, index));
                a.tied_values |= own && a.value_norm.is_some() && a.window.is_none();
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

    /// Rows of the tensor of a role.
    pub(super) fn count(&self, role: Role, layer: usize) -> Option<u32> {
        let tensor = self.files.get(&known(self.files, &self.family.weight(role, layer).name)?)?;
        tensor.shape.first().and_then(|rows| u32::try_from(*rows).ok()).filter(|rows| (1..=1 << 24).contains(rows))
    }

    /// Finds a head that judges texts, which metadata do not describe: that of an encoder, or of Qwen3-Reranker.
    fn judges(&self, config: &mut Config) -> Result<()> {
        // `count` also finds a tensor by its name without the first word: `output.weight` for `cls.output.weight`.
        let named = self.files.get(&self.family.weight(Role::Classifier, 0).name).is_some();
        let Some(labels) = self.count(Role::Classifier, 0).filter(|_| named) else { return Ok(()) };
        let [dense, norm] = [Role::Pooler, Role::PoolerNorm].map(|role| self.has(&self.family.weight(role, 0)));
        let bias = [Role::Classifier, Role::Pooler].map(|role| self.has(&self.family.bias(role, 0)));
        let reads_both_sides = config.bidirectional();
        if reads_both_sides && !dense {
            let reason = "cls.output.weight is there and cls.weight is not: the file leaves out the layer in front of the \
                          head's output product, as converters of BERT do, and would judge texts otherwise than its \
                          model; open the model's folder instead";
            return Err(Error::Config { reason: reason.into() });
        }
        if !reads_both_sides && !config.architecture.starts_with("qwen3") {
            return Ok(());
        }
        if !self.has(&self.family.weight(Role::Head, 0)) {
            // Files of Qwen3-Reranker hold no output product, and the embedding is not one.
            (config.headless, config.tied) = (true, Some(false));
        }
        let types = self.count(Role::TokenTypes, 0);
        config.classifier =
            Some(family::encoder_head(config, types, labels, !reads_both_sides, [bias[0], bias[1], norm]));
        Ok(())
    }

    /// The width of a layer's MLP, if it has one and no router.
    pub(super) fn dense(&self, index: usize) -> Option<u32> {
        let [router, up] = [Role::Router, Role::Up].map(|role| self.family.weight(role, index));
        let tensor = self.files.get(&known(self.files, &up.name)?).filter(|_| !self.has(&router))?;
        tensor.shape.first().and_then(|rows| u32::try_from(*rows).ok()).filter(|rows| (1..=1 << 24).contains(rows))
    }

    /// Frequencies with the divisors that the files hold.
    pub(super) async fn divided(&mut self, of: Frequencies) -> Result<Frequencies> {
        if let Scaling::Long { original, .. } = of.scaling {
            let either = [Role::RopeShort, Role::RopeLong].map(|role| self.has(&self.family.weight(role, 0)));
            if matches!(&*self.family.config.architecture, "phi3" | "minicpm3") && either == [false, false] {
                return Ok(of.with_scaling(Scaling::None));
            }
            let short = self.divisors(Role::RopeShort, of.rotary).await?;
            let long = self.divisors(Role::RopeLong, of.rotary).await?;
            return Ok(of.with_scaling(Scaling::Long { short, long, original }));
        }
        match self.has(&self.family.weight(Role::RopeDivisors, 0)) {
            true => {
                let divisors = self.divisors(Role::RopeDivisors, of.rotary).await?;
                Ok(of.with_divisors(Some(divisors)))
            }
            false => Ok(of),
        }
    }

    pub(super) async fn divisors(&mut self, role: Role, rotary: u32) -> Result<Arc<[f32]>> {
        let place = self.family.weight(role, 0);
        let values = self.values(&place, rotary / 2, &[]).await?;
        match values.iter().position(|x| !(x.is_finite() && *x > 0.0)) {
            Some(at) if !self.hollow => {
                Err(Error::format(place.name, format!("element {at} is {}: divisors are positive", values[at])))
            }
            _ => Ok(values.into()),
        }
    }
}
