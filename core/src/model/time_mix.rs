//! The time mix of RWKV-7. Each product reads its own mixture of a token and the token before. The state of a head decays by
//! channel, and each token replaces what the state holds along the token's key. The output is normed by head, gets a bonus of
//! the token's own value, and is multiplied by a gate.
//!
//! ```text
//! d = x[t-1] - x,  x_i = x + d s_i                                    for i in r, w, k, v, a, g
//! r = W_r x_r,  k = W_k x_k,  v = W_v x_v                             v += (v of the first layer - v) sigmoid(V x_v)
//! log w = -e^-0.5 sigmoid(W2 tanh(W1 x_w) + w0),  a = sigmoid(A x_a)
//! n = k k_k / |k k_k|,  k += (a - 1) k k_a
//! S = diag(w) S - (a n) (S^T n)^T + k v^T,  o = S^T r
//! y = W_o (G2 sigmoid(G1 x_g) (norm(o) + (sum r k r_k) v))
//! ```

use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::vectors::TimeMixBuffers;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::{LayerStates, Slots};
use crate::config;
use crate::error::Result;
use foveate_kernels::{activation, add, conv, delta, gate};

/// `-e^-0.5`, the logarithm of the strongest decay.
const STRONGEST: f32 = -0.606_530_66;

pub(crate) struct TimeMix<B: Backend> {
    pub(super) config: config::TimeMix,
    /// The token before less the token: `[dim, 2]`.
    pub(super) change: B::Buffer,
    /// The shares of r, w, k, v, a and g.
    pub(super) shares: Vec<B::Buffer>,
    pub(super) receptance: Matrix<B>,
    pub(super) key: Matrix<B>,
    pub(super) value: Matrix<B>,
    pub(super) decay: LowRank<B>,
    pub(super) rate: LowRank<B>,
    pub(super) value_share: Option<LowRank<B>>,
    pub(super) gate: Option<LowRank<B>>,
    /// `k_k` and `k_a`.
    pub(super) key_scales: [B::Buffer; 2],
    /// Gives keys a length of -1.
    pub(super) unit: Norm<B>,
    /// `r_k`, as a product of an output for each head.
    pub(super) bonus: Matrix<B>,
    /// The norm of each head, then the weight and the bias of each channel.
    pub(super) norm: Norm<B>,
    pub(super) normed: [B::Buffer; 2],
    /// 1 and -1.
    pub(super) ones: [B::Buffer; 2],
    pub(super) output: Matrix<B>,
}

/// Two products, the second one with a bias.
pub(crate) struct LowRank<B: Backend> {
    pub(super) down: Matrix<B>,
    pub(super) up: Matrix<B>,
}

/// Returns the spec of a `gate` op over rows of `heads` heads of `dim` elements, without a gate yet.
fn rows(tokens: u32, heads: u32, dim: u32) -> gate::Spec {
    gate::Spec::new(tokens, heads, dim, gate::Kind::Identity).with_gate(None)
}

/// Returns a gate with one value for each of the `width` elements of a row.
fn by(kind: gate::Kind, factor: f32, width: u32) -> Option<gate::Gate> {
    Some(gate::Gate { kind, of_heads: false, factor, stride: width })
}

/// Records `out = x scales`, channel by channel, with a bias if there is one.
fn scale<B: Backend>(
    to: &mut Record<'_, B>,
    [tokens, width]: [u32; 2],
    x: &B::Buffer,
    (scales, bias): (&B::Buffer, Option<&B::Buffer>),
    out: &B::Buffer,
) -> Result<()> {
    let plain = conv::Spec::new(1, tokens, width, 1, conv::Activation::None);
    let operands: Vec<_> = [Some(x), Some(scales), bias, Some(out)].into_iter().flatten().map(Operand::new).collect();
    to(plain.with_bias(bias.is_some()).into(), &operands)
}

impl<B: Backend> LowRank<B> {
    /// Records both products of `x` to `out`, with `between` in place of what the first one gives.
    fn record(
        &self,
        to: &mut Record<'_, B>,
        tokens: u32,
        [x, latent, out]: [&B::Buffer; 3],
        between: Option<activation::Kind>,
    ) -> Result<()> {
        let input = |x| Input::plain(Operand::new(x));
        self.down.apply(to, tokens, input(x), Then::default(), latent)?;
        if let Some(kind) = between {
            let spec = activation::Spec::new(tokens, self.up.inputs, kind);
            to(spec.with_in_place(true).with_bound(1.0).into(), &[Operand::new(latent)])?;
        }
        self.up.apply(to, tokens, input(latent), Then::default(), out)
    }
}

impl<B: Backend> TimeMix<B> {
    /// Records the layer from what its norm leaves to `w.mixed`, over the states of the step's slots.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (slots, states): (u32, Option<&LayerStates<B>>),
        step: &Step<'_>,
        input: Input<'_, B>,
    ) -> Result<()> {
        let Some(b) = w.time_mix.as_deref() else { unreachable!("a model of time mixes has buffers for them") };
        let Some(states) = states else { unreachable!("a time mix has states") };
        let c = &self.config;
        let (tokens, keys, values) = (step.tokens, c.keys(), c.values());
        shift(to, w, (slots, states.inputs.as_ref()), step, (input.again(), &self.change, &b.change))?;

        self.share(to, tokens, &input, 0, b)?;
        let shared = || Input::plain(Operand::new(&b.shared));
        self.receptance.apply(to, tokens, shared(), Then::default(), &b.receptance)?;

        self.share(to, tokens, &input, 1, b)?;
        // A bound of 1 is the hyperbolic tangent.
        self.decay.record(to, tokens, [&b.shared, &b.latent, &b.decay], Some(activation::Kind::Cap))?;
        let sigmoid = activation::Spec::new(tokens, keys, activation::Kind::Sigmoid);
        to(sigmoid.with_in_place(true).into(), &[Operand::new(&b.decay)])?;
        let spec = rows(tokens, 1, keys).with_in_place(true).with_scale(STRONGEST);
        to(spec.into(), &[Operand::new(&b.decay)])?;

        self.share(to, tokens, &input, 2, b)?;
        self.key.apply(to, tokens, shared(), Then::default(), &b.key)?;

        self.share(to, tokens, &input, 3, b)?;
        let value = self.value(to, tokens, b)?;

        self.share(to, tokens, &input, 4, b)?;
        self.rate.record(to, tokens, [&b.shared, &b.latent, &b.rate], None)?;
        self.keys(to, tokens, b)?;

        let spec = delta::Spec::new(step.sequences(), step.each(), c.heads, c.key_dim, c.value_dim)
            .with_gate(delta::Gate::RankOne)
            .with_scale(1.0)
            .with_pool(Some(slots));
        let read = [&b.receptance, &b.key, value, &b.decay, &b.erased, &b.replaced].map(Operand::new);
        let state = [w.states(step), Operand::new(&states.memory.buffer), Operand::new(&w.mixed)];
        to(spec.into(), &read.into_iter().chain(state).collect::<Vec<_>>())?;

        self.norm.in_place(to, Operand::new(&w.mixed), [tokens, c.heads, c.value_dim], values)?;
        let [weight, bias] = &self.normed;
        scale(to, [tokens, values], &w.mixed, (weight, Some(bias)), &b.normed)?;
        // The token's own value, as much of it as receptance and key agree.
        let spec = rows(tokens, 1, keys).with_gate(by(gate::Kind::Identity, 1.0, keys));
        to(spec.into(), &[&b.receptance, &b.key, &b.scaled].map(Operand::new))?;
        self.bonus.apply(to, tokens, Input::plain(Operand::new(&b.scaled)), Then::default(), &b.bonus)?;
        let of_heads = gate::Gate { kind: gate::Kind::Identity, of_heads: true, factor: 1.0, stride: c.heads };
        let spec = rows(tokens, c.heads, c.value_dim).with_gate(Some(of_heads));
        to(spec.into(), &[value, &b.bonus, &b.scaled].map(Operand::new))?;

        let sum = rows(tokens, 1, values).with_skip(Some(values));
        let mut operands = vec![&b.normed, &b.scaled, &self.ones[0]];
        let gate = match &self.gate {
            Some(gate) => {
                self.share(to, tokens, &input, 5, b)?;
                gate.record(to, tokens, [&b.shared, &b.latent, &b.gate], Some(activation::Kind::Sigmoid))?;
                operands.push(&b.gate);
                by(gate::Kind::Identity, 1.0, values)
            }
            None => None,
        };
        operands.push(&w.mixed);
        to(sum.with_gate(gate).into(), &operands.into_iter().map(Operand::new).collect::<Vec<_>>())
    }

    /// Records `shared = x + change shares[index]`, the input of product `index` (r, w, k, v, a, g).
    fn share(
        &self,
        to: &mut Record<'_, B>,
        tokens: u32,
        input: &Input<'_, B>,
        index: usize,
        b: &TimeMixBuffers<B>,
    ) -> Result<()> {
        let dim = self.receptance.inputs;
        let spec = rows(tokens, dim, 1).with_skip(Some(dim));
        let rest = [&b.change, &self.shares[index], &b.shared].map(Operand::new);
        to(spec.into(), &[input.again().x].into_iter().chain(rest).collect::<Vec<_>>())
    }

    /// Records the layer's values, mixed with those of the first layer, and returns their buffer.
    fn value<'a>(&self, to: &mut Record<'_, B>, tokens: u32, b: &'a TimeMixBuffers<B>) -> Result<&'a B::Buffer> {
        let width = self.config.values();
        let input = Input::plain(Operand::new(&b.shared));
        let Some(share) = &self.value_share else {
            self.value.apply(to, tokens, input, Then::default(), &b.first)?;
            return Ok(&b.first);
        };
        self.value.apply(to, tokens, input, Then::default(), &b.value)?;
        share.record(to, tokens, [&b.shared, &b.latent, &b.gate], None)?;
        let gate = by(gate::Kind::Sigmoid, 1.0, width);
        let spec = rows(tokens, 1, width).with_gate(gate).with_skip(Some(width));
        to(spec.into(), &[&b.first, &b.value, &self.ones[1], &b.gate, &b.scaled].map(Operand::new))?;
        to(add::Spec::new(tokens, width).into(), &[&b.scaled, &b.value].map(Operand::new))?;
        Ok(&b.value)
    }

    /// Records the `delta` op's erased and replaced keys (`-n` and `a n`), then the keys that it writes (`k + (a - 1) k k_a`).
    fn keys(&self, to: &mut Record<'_, B>, tokens: u32, b: &TimeMixBuffers<B>) -> Result<()> {
        let (c, width) = (&self.config, self.config.keys());
        let [unit, written] = &self.key_scales;
        scale(to, [tokens, width], &b.key, (unit, None), &b.erased)?;
        self.unit.in_place(to, Operand::new(&b.erased), [tokens, c.heads, c.key_dim], width)?;
        let spec = rows(tokens, 1, width).with_gate(by(gate::Kind::Sigmoid, 1.0, width)).with_scale(-1.0);
        to(spec.into(), &[&b.erased, &b.rate, &b.replaced].map(Operand::new))?;
        scale(to, [tokens, width], &b.key, (written, None), &b.scaled)?;
        // a - 1 is the sigmoid of the negative, times -1.
        let gate = by(gate::Kind::Sigmoid, -1.0, width);
        let spec = rows(tokens, 1, width).with_gate(gate).with_scale(-1.0).with_in_place(true);
        to(spec.into(), &[&b.scaled, &b.rate].map(Operand::new))?;
        to(add::Spec::new(tokens, width).into(), &[&b.scaled, &b.key].map(Operand::new))
    }
}

/// Records a sum of each token's row and of the one before it, by the weights of a convolution of two tokens.
pub(super) fn shift<B: Backend>(
    to: &mut Record<'_, B>,
    w: &Workspace<B>,
    (slots, last): (u32, Option<&Slots<B>>),
    step: &Step<'_>,
    (input, weight, out): (Input<'_, B>, &B::Buffer, &B::Buffer),
) -> Result<()> {
    let Some(last) = last else { unreachable!("a layer that reads the token before has a state for it") };
    let dim = (last.bytes / 4) as u32;
    let plain = conv::Spec::new(step.sequences(), step.each(), dim, 2, conv::Activation::None);
    let rest = [Operand::new(weight), w.states(step), Operand::new(&last.buffer), Operand::new(out)];
    let operands: Vec<_> = [input.x].into_iter().chain(rest).collect();
    to(plain.with_pool(Some(slots)).into(), &operands)
}
