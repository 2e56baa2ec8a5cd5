//! The part of a layer that sees each token by itself.

use super::Norm;
use crate::error::{Error, Result};
use foveate_kernels::ops::Kernel;
use foveate_kernels::{activation, expert_choice};

/// `down(f(gate(x)) * up(x))`, or `down(f(up(x)))` where nothing gates.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Mlp {
    /// Elements between both products.
    pub inner: u32,
    /// The nonlinearity `f`.
    pub kind: activation::Kind,
    /// A gate multiplies.
    pub gated: bool,
    /// Every product has a bias.
    pub bias: bool,
    /// A norm in front of the output product.
    pub norm: Option<Norm>,
    /// Multiplies the gate in front of the nonlinearity.
    pub gate_scale: f32,
    /// Multiplies the output.
    pub scale: f32,
    /// Gates become what they are more than their mean and so many of their deviations, at least 0, before the
    /// nonlinearity.
    pub cutoff: Option<f32>,
    /// The numbers `alpha_p`, `alpha_n`, `beta` and `eps` of xIELU, if no tensors hold them.
    pub numbers: Option<[f64; 4]>,
}

impl Mlp {
    /// Elements of what the activation reads: gates and values, or values alone.
    pub(crate) fn width(&self) -> u32 {
        self.inner * if self.gated { 2 } else { 1 }
    }

    /// `down(f(gate(x)) * up(x))` with `inner` elements between, without biases.
    pub fn gated(inner: u32, kind: activation::Kind) -> Self {
        Self {
            inner,
            kind,
            gated: true,
            bias: false,
            norm: None,
            gate_scale: 1.0,
            scale: 1.0,
            cutoff: None,
            numbers: None,
        }
    }

    /// `down(f(up(x)))` with `inner` elements between, without biases.
    pub fn plain(inner: u32, kind: activation::Kind) -> Self {
        Self { gated: false, ..Self::gated(inner, kind) }
    }
}

/// The part of a layer that sees each token by itself.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum FeedForward {
    /// One MLP for all tokens.
    Mlp(Mlp),
    /// A mixture of experts.
    Experts(Experts),
    /// Nothing: the layer is its mixer.
    None,
}

impl FeedForward {
    /// The experts, if there are any.
    pub fn experts(&self) -> Option<&Experts> {
        match self {
            FeedForward::Experts(experts) => Some(experts),
            FeedForward::Mlp(_) | FeedForward::None => None,
        }
    }

    /// As [`shared`](Self::shared), to be changed.
    pub(crate) fn shared_mut(&mut self) -> Option<&mut Mlp> {
        match self {
            FeedForward::Mlp(mlp) => Some(mlp),
            FeedForward::Experts(experts) => experts.shared.as_mut(),
            FeedForward::None => None,
        }
    }

    /// The MLP of all tokens: the whole part, or what a mixture of experts shares.
    pub fn shared(&self) -> Option<&Mlp> {
        match self {
            FeedForward::Mlp(mlp) => Some(mlp),
            FeedForward::Experts(experts) => experts.shared.as_ref(),
            FeedForward::None => None,
        }
    }
}

impl From<Mlp> for FeedForward {
    fn from(mlp: Mlp) -> Self {
        FeedForward::Mlp(mlp)
    }
}

impl From<Experts> for FeedForward {
    fn from(experts: Experts) -> Self {
        FeedForward::Experts(experts)
    }
}

/// A mixture of experts: `sum_j w_j mlp_j(x)` over the experts that a router chooses for each token, and an MLP that all
/// tokens share.
#[derive(Clone, PartialEq, Debug)]
pub struct Experts {
    /// How many experts there are, and how a router's logits choose among them. Its tokens are those of a step.
    pub choice: expert_choice::Spec,
    /// The router's product has a bias.
    pub router_bias: bool,
    /// The MLP of each expert.
    pub each: Mlp,
    /// Gates and values are bounded, as in gpt-oss; instead of the nonlinearity of `each`.
    pub clamp: Option<Clamp>,
    /// The MLP of all tokens.
    pub shared: Option<Mlp>,
    /// The outputs of the shared MLP are multiplied by the sigmoid of a gate for each token.
    pub shared_gate: bool,
    /// Experts and their router read the residual stream beside the MLP of all tokens, each behind a norm of its own (the
    /// router's divided by the root of its width), and what both give is normed before it is added.
    pub apart: Option<Norm>,
    /// The weight of each expert is multiplied by a number of its own.
    pub factors: bool,
    /// Experts read what the layer's norm gives multiplied by their weights, instead of being summed by these. Needs gates,
    /// and products without biases.
    pub weighs_input: bool,
    /// Elements of the vectors that experts read and give, where these are narrower than the stream: one product narrows the
    /// stream for them, another one widens their sum. The router and the MLP of all tokens read the stream itself.
    pub latent: Option<u32>,
    /// The products that narrow and widen have biases.
    pub latent_bias: bool,
}

impl Experts {
    /// Experts without biases, and nothing shared.
    pub fn new(choice: expert_choice::Spec, each: Mlp) -> Self {
        Self {
            choice,
            router_bias: false,
            each,
            clamp: None,
            shared: None,
            shared_gate: false,
            apart: None,
            factors: false,
            weighs_input: false,
            latent: None,
            latent_bias: false,
        }
    }

    /// # Errors
    /// `Config` for a choice that cannot be made.
    pub(crate) fn check(&self) -> Result<()> {
        if self.apart.is_some() && self.latent.is_some() {
            return Err(Error::Config { reason: "experts that stand apart read the stream itself".into() });
        }
        if self.apart.is_some() && (self.shared.is_none() || self.shared_gate) {
            let reason = "experts that stand apart need an MLP of all tokens without a gate beside them".into();
            return Err(Error::Config { reason });
        }
        if self.weighs_input && (!self.each.gated || self.each.bias || self.clamp.is_some()) {
            let reason = "experts that read weighed inputs need gates, and no biases or bounds".into();
            return Err(Error::Config { reason });
        }
        self.choice.validate().map_err(|e| Error::Config { reason: e.to_string() })
    }
}

/// The bounds of a gated activation: `(u + 1) g sigmoid(alpha g)` with `g` of at most `limit` and `u` between both.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Clamp {
    /// Multiplies the gate inside of the sigmoid.
    pub alpha: f32,
    /// The bound of gates and values.
    pub limit: f32,
}
