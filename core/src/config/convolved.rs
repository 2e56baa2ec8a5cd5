//! Mixers that are a short convolution, or a scan behind one.

use super::Norm;
use crate::error::{Error, Result};
use foveate_kernels::{conv, delta};

/// `c * conv(b * u)`, where one product gives `b`, `c` and `u`: a short causal convolution between two gates.
#[derive(Clone, PartialEq, Debug)]
pub struct ShortConv {
    /// Elements of `b`, of `c` and of `u`.
    pub channels: u32,
    /// Tokens that the convolution sees, the own among them.
    pub window: u32,
    /// The convolution and both products have biases.
    pub bias: bool,
}

impl ShortConv {
    /// # Errors
    /// `Config` for a convolution that is larger than the op is made for.
    pub(crate) fn check(&self) -> Result<()> {
        check(self.channels, self.window)
    }
}

fn check(channels: u32, window: u32) -> Result<()> {
    if channels == 0 || channels > 1 << 24 {
        return Err(Error::Config { reason: format!("a convolution of {channels} channels is not supported") });
    }
    let spec = conv::Spec::new(1, 1, channels, window, conv::Activation::Silu);
    foveate_kernels::ops::Kernel::validate(&spec).map_err(|e| Error::Config { reason: e.to_string() })
}

/// The scan of Mamba-2: states that decay by a step of each head, behind a short convolution, and a gated norm of what they
/// give.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// Heads of values.
    pub heads: u32,
    /// Elements of a head's values.
    pub dim: u32,
    /// Groups of heads that share keys and queries, a divisor of `heads`.
    pub groups: u32,
    /// Elements of a key, and of a query.
    pub state: u32,
    /// Tokens that the convolution sees, the own among them.
    pub window: u32,
    /// The convolution has a bias.
    pub conv_bias: bool,
    /// The input product has a bias.
    pub input_bias: bool,
    /// The output product has a bias.
    pub output_bias: bool,
    /// The bounds of steps.
    pub steps: [f32; 2],
    /// The norm of each of the `norm_groups` parts of the scan's output; each part has its own weights.
    pub norm: Option<Norm>,
    /// Parts that are normalised by themselves.
    pub norm_groups: u32,
    /// The norm precedes the gate instead of following it.
    pub norm_first: bool,
    /// Factors of what the products read and give.
    pub scales: ScanScales,
}

/// Factors of a scan's inputs and outputs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScanScales {
    /// Multiplies what the input product reads.
    pub input: f32,
    /// Multiply the gates, the values, the keys, the queries and the steps that the product gives.
    pub parts: [f32; 5],
    /// Multiplies the output.
    pub output: f32,
}

impl ScanScales {
    /// No factors.
    pub const NONE: Self = Self { input: 1.0, parts: [1.0; 5], output: 1.0 };
}

impl Scan {
    /// A scan without biases, but for the convolution's, whose steps have no bounds; with a norm of everything behind the
    /// gate.
    pub fn new([heads, dim]: [u32; 2], groups: u32, state: u32, norm: Norm) -> Self {
        Self {
            heads,
            dim,
            groups,
            state,
            window: 4,
            conv_bias: true,
            input_bias: false,
            output_bias: false,
            steps: [0.0, f32::MAX],
            norm: Some(norm),
            norm_groups: 1,
            norm_first: false,
            scales: ScanScales::NONE,
        }
    }

    /// Elements of a token's values, and of its gates.
    pub fn inner(&self) -> u32 {
        self.heads * self.dim
    }

    /// Elements of a token's keys, and of its queries.
    pub fn keys(&self) -> u32 {
        self.groups * self.state
    }

    /// Channels of the convolution: values, keys and queries.
    pub fn channels(&self) -> u32 {
        self.inner() + 2 * self.keys()
    }

    /// Elements of what a token's input is turned into, one behind the other: gates, values, keys, queries and steps.
    pub fn width(&self) -> u32 {
        self.inner() + self.channels() + self.heads
    }

    /// # Errors
    /// `Config` for heads that are not those of one model, or larger than the ops are made for.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |reason: String| Err(Error::Config { reason });
        let spec = delta::Spec::new(1, 1, self.groups, self.state, self.dim)
            .with_value_heads(self.heads)
            .with_gate(delta::Gate::Write);
        let valid = foveate_kernels::ops::Kernel::validate(&spec);
        valid.map_err(|e| Error::Config { reason: e.to_string() })?;
        let inner = u64::from(self.heads) * u64::from(self.dim);
        let channels = inner + 2 * u64::from(self.groups) * u64::from(self.state);
        if inner + channels + u64::from(self.heads) > 1 << 24 {
            return refused(format!("the scan of {channels} channels is too large"));
        }
        if self.norm_groups == 0 || !self.inner().is_multiple_of(self.norm_groups) {
            return refused(format!("{} elements are no {} groups of a norm", self.inner(), self.norm_groups));
        }
        let ScanScales { input, parts, output } = self.scales;
        if input == 0.0 || ![input, output].iter().chain(&parts).all(|scale| scale.is_finite()) {
            return refused(format!("the scan's factors {input}, {parts:?} and {output} are not supported"));
        }
        let [least, most] = self.steps;
        if !(0.0 <= least && least <= most && most.is_finite()) {
            return refused(format!("steps from {least} to {most} are not supported"));
        }
        check(channels as u32, self.window)
    }
}
