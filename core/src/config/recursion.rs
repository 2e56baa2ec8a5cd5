//! Layers that run several times, for each token as often as a router says.

use super::{Config, FeedForward, Mixer};
use crate::error::{Error, Result};
use foveate_kernels::expert_choice;

/// Mixture-of-Recursions: `steps` times the same `depth` layers `f`, and a router that says for each token how many of the
/// steps count.
///
/// ```text
/// each step chooses:  l = u_r . x / temperature;  x += scale s(l) f(x)  if l >= 0 in this step and in all before it
/// the entry chooses:  l = U x / temperature, a logit for each step;  d = argmax l;  x += scale s(l)[d] f(... f(x)), d times
/// ```
///
/// The layers of later steps read the keys and values of the first step's ([`shared`](super::Attention::shared)), of all tokens; or the
/// layers of all steps are [marked](super::Attention::marked), and tokens see those alone of which their step counts.
///
/// All steps compute all tokens, and steps that do not count are multiplied by 0: a token that stops early saves nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recursion {
    /// The first layer of the first step.
    pub first: u32,
    /// Layers of a step.
    pub depth: u32,
    /// Steps. Their layers stand one behind the other; those of later steps have the weights of the first step's.
    pub steps: u32,
    /// The router, with its function `s`.
    pub router: DepthRouter,
    /// Multiplies what is added.
    pub scale: f32,
    /// Divides the router's logits.
    pub temperature: f32,
}

/// A router: it chooses the steps of a token in front of each step, or of all steps in front of the first, by a function of
/// its logits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DepthRouter {
    /// In front of each step; the sigmoid of one logit. The paper calls it expert choice.
    EachSigmoid,
    /// In front of each step; the hyperbolic tangent of one logit.
    EachTanh,
    /// In front of the first step; the softmax of the logits of all steps. The paper calls it token choice.
    OnceSoftmax,
    /// In front of the first step; the sigmoid of the chosen step's logit.
    OnceSigmoid,
}

impl DepthRouter {
    /// True if every step has a router of its own.
    pub fn each(self) -> bool {
        matches!(self, Self::EachSigmoid | Self::EachTanh)
    }
}

impl Recursion {
    /// The layer behind the last step.
    pub(crate) fn end(&self) -> usize {
        self.first as usize + self.depth as usize * self.steps as usize
    }

    /// True for layers of the steps.
    pub(crate) fn has(&self, index: usize) -> bool {
        (self.first as usize..self.end()).contains(&index)
    }

    /// The layer of the first step that has the weights of layer `index`.
    pub(crate) fn source(&self, index: usize) -> usize {
        let first = self.first as usize;
        if self.has(index) { first + (index - first) % self.depth as usize } else { index }
    }

    /// The step that begins with layer `index`.
    pub(crate) fn begins(&self, index: usize) -> Option<usize> {
        let at = index.checked_sub(self.first as usize).filter(|_| self.has(index))?;
        at.is_multiple_of(self.depth as usize).then_some(at / self.depth as usize)
    }

    /// The step that ends with layer `index`.
    pub(crate) fn ends(&self, index: usize) -> Option<usize> {
        self.begins(index + 1).or((index + 1 == self.end()).then_some(self.steps as usize))?.checked_sub(1)
    }

    /// How logits become the number of a choice: of 0 for going on and 1 for stopping, or of a step.
    pub(crate) fn choice(&self, tokens: u32) -> expert_choice::Spec {
        let choices = if self.router.each() { 2 } else { self.steps };
        let scores = match self.router {
            DepthRouter::OnceSoftmax => expert_choice::Scores::Softmax,
            _ => expert_choice::Scores::Sigmoid,
        };
        expert_choice::Spec::new(tokens, choices, 1).with_scores(scores)
    }

    /// # Errors
    /// `Config` for steps that are not in the model, or whose layers differ or have parts that a recursion cannot run.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        let refused = |reason: String| Err(Error::Config { reason: format!("recursion: {reason}") });
        let (first, depth, steps) = (u64::from(self.first), u64::from(self.depth), u64::from(self.steps));
        if depth == 0 || !(1..=1024).contains(&steps) || first + depth * steps > config.layers.len() as u64 {
            let layers = config.layers.len();
            return refused(format!(
                "{steps} steps of {depth} layers from layer {first} on are not in {layers} layers"
            ));
        }
        if !(self.scale.is_finite() && self.temperature.is_finite() && self.temperature > 0.0) {
            return refused(format!("scale {} and temperature {} are not supported", self.scale, self.temperature));
        }
        if config.streams.is_some() || config.per_layer.is_some() || config.branch_scale != 1.0 {
            return refused("streams, per_layer and a branch_scale are not supported beside it".into());
        }
        for index in self.first as usize..self.end() {
            let (mut layer, source) = (config.layers[index].clone(), self.source(index));
            let Mixer::Attention(attention) = &mut layer.mixer else {
                return refused(format!("layer {index} is not one of attention"));
            };
            let whole = match &layer.mlp {
                FeedForward::Mlp(mlp) => {
                    let plain = attention.latent.is_none() && !attention.gated && !attention.head_gates;
                    plain && mlp.cutoff.is_none()
                }
                FeedForward::Experts(_) | FeedForward::None => false,
            };
            if !whole || layer.low_rank.is_some() {
                return refused(format!(
                    "layer {index} needs attention without latents or gates, and one MLP without a cutoff"
                ));
            }
            if attention.marked && attention.softcap.is_some() {
                return refused(format!("layer {index}: a softcap lets keys be seen in spite of their marks"));
            }
            if index != source && !attention.marked {
                if attention.shared != Some(source as u32) {
                    let reason = format!("layer {index} must read the keys of layer {source}, or have marked ones");
                    return refused(reason);
                }
                attention.shared = None;
            }
            if layer != config.layers[source] {
                return refused(format!("layer {index} must be as layer {source}"));
            }
        }
        Ok(())
    }
}
