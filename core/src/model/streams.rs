//! Several residual streams, and the product of a low rank beside a mixer; see [`config::Streams`](crate::config::Streams).
//!
//! The streams of a token lie one behind the other. Sums over them are the op of experts' sums, with the coefficients of
//! each token as weights.

use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::vectors::StreamBuffers;
use super::workspace::Workspace;
use crate::backend::{Backend, Operand};
use crate::config;
use crate::error::Result;
use foveate_kernels::{activation, add, conv, expert_sum, gate, linear};

/// The weights outside of layers.
pub(crate) struct Streams<B: Backend> {
    pub(super) config: config::Streams,
    pub(super) dim: u32,
    /// `U` and `V`, of all streams but the first.
    pub(super) begin: Vec<Matrix<B>>,
    pub(super) end: Vec<Matrix<B>>,
    /// Divides rows by their lengths.
    pub(super) unit: Norm<B>,
    /// The mean of a row, as a product of an output for each stream but the first.
    pub(super) mean: Matrix<B>,
}

/// The weights of a layer.
pub(crate) struct Updates<B: Backend> {
    pub(super) norm: Norm<B>,
    pub(super) router: Matrix<B>,
    /// The coefficients of predictions: of each stream in each, with 1 for its own.
    pub(super) predict: Matrix<B>,
    /// The coefficients of corrected streams: of each prediction in each, and of the layer's output.
    pub(super) keep: Matrix<B>,
    pub(super) correct: Matrix<B>,
    /// Multiplies what the branch of vectors reads.
    pub(super) scale: Option<B::Buffer>,
}

/// The weights of [`config::LowRank`].
pub(crate) struct LowRank<B: Backend> {
    pub(super) left: Matrix<B>,
    pub(super) right: Matrix<B>,
    pub(super) norm: Norm<B>,
}

fn buffers<B: Backend>(w: &Workspace<B>) -> &StreamBuffers<B> {
    let Some(buffers) = w.streams.as_deref() else { unreachable!("a model of several streams has buffers for them") };
    buffers
}

impl<B: Backend> Streams<B> {
    /// Where stream `index` begins among those of a token, and how far those of the next token are apart.
    fn stream(&self, index: u32) -> (u64, u32) {
        (u64::from(index) * u64::from(self.dim) * 4, self.config.count * self.dim)
    }

    /// Copies rows that are `stride` elements apart.
    fn copy(
        &self,
        to: &mut Record<'_, B>,
        (from, stride): (Operand<'_, B>, u32),
        tokens: u32,
        out: &B::Buffer,
    ) -> Result<()> {
        let plain = gate::Spec::new(tokens, 1, self.dim, gate::Kind::Identity);
        to(plain.with_gate(None).with_stride(stride).into(), &[from, Operand::new(out)])
    }

    /// `out[t, j] = sum_i weights[t, j, i] y[t, i]`
    fn sum(
        &self,
        to: &mut Record<'_, B>,
        [chosen, sums]: [u32; 2],
        tokens: u32,
        operands: [&B::Buffer; 3],
        accumulate: bool,
    ) -> Result<()> {
        let spec = expert_sum::Spec::new(tokens, chosen, self.dim).with_sums(sums).with_accumulate(accumulate);
        to(spec.into(), &operands.map(Operand::new))
    }

    /// Makes rows as long as those of `w.x`, of which there are so many for each: `stride` elements apart.
    fn stretch(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        (rows, stride): (Operand<'_, B>, u32),
    ) -> Result<()> {
        let (b, others, dim) = (buffers(w), self.config.count - 1, self.dim);
        self.unit.in_place(to, rows, [tokens, others, dim], stride)?;
        to(self.unit.spec(tokens, 1, dim).into(), &self.unit.operands_into(Operand::new(&w.x), &w.normed))?;
        // A row times itself, divided by its length: the mean is its length.
        let spec = gate::Spec::new(tokens, 1, dim, gate::Kind::Identity).with_in_place(true);
        to(spec.into(), &[&w.normed, &w.x].map(Operand::new))?;
        self.mean.apply(to, tokens, Input::plain(Operand::new(&w.normed)), Then::default(), &b.lengths)?;
        let kind = gate::Kind::Identity;
        let by = gate::Gate { kind, of_heads: true, factor: 1.0, stride: others };
        let spec =
            gate::Spec::new(tokens, others, dim, kind).with_in_place(true).with_stride(stride).with_gate(Some(by));
        to(spec.into(), &[rows, Operand::new(&b.lengths)])
    }

    /// Records the streams of embeddings in `w.x`.
    pub(super) fn begin(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let (b, n) = (buffers(w), self.config.count);
        self.sum(to, [1, n], tokens, [&w.x, &b.first, &b.streams], false)?;
        for (index, matrix) in (1..).zip(&self.begin) {
            let (at, y_stride) = self.stream(index);
            let part = &matrix.parts[0];
            let spec = linear::Spec::new(tokens, self.dim, self.dim, part.format).with_y_stride(y_stride);
            to(spec.into(), &[Operand::new(&w.x), Operand::new(&part.buffer), Operand::at(&b.streams, at)])?;
        }
        let (at, stride) = self.stream(1);
        self.stretch(to, w, tokens, (Operand::at(&b.streams, at), stride))
    }

    /// Records the coefficients of a token's streams, of rows that are `stride` elements apart.
    fn route(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        of: &Updates<B>,
        (x, stride): (Operand<'_, B>, u32),
        tokens: u32,
    ) -> Result<()> {
        let b = buffers(w);
        let spec = of.norm.spec(tokens, 1, self.dim).with_stride(stride);
        to(spec.into(), &of.norm.operands_into(x, &w.normed))?;
        of.router.apply(to, tokens, Input::plain(Operand::new(&w.normed)), Then::default(), &b.routed)?;
        // The hyperbolic tangent.
        let cap = activation::Spec::new(tokens, self.config.count, activation::Kind::Cap);
        let spec = cap.with_in_place(true).with_bound(1.0);
        to(spec.into(), &[Operand::new(&b.routed)])
    }

    /// Records the predictions in front of a layer, and leaves that of the active stream in `w.x`.
    pub(super) fn predict(&self, to: &mut Record<'_, B>, w: &Workspace<B>, of: &Updates<B>, tokens: u32) -> Result<()> {
        let (b, n) = (buffers(w), self.config.count);
        let (at, stride) = self.stream(self.config.active);
        self.route(to, w, of, (Operand::at(&b.streams, at), stride), tokens)?;
        of.predict.apply(to, tokens, Input::plain(Operand::new(&b.routed)), Then::default(), &b.weights)?;
        self.sum(to, [n, n], tokens, [&b.streams, &b.weights, &b.predicted], false)?;
        self.copy(to, (Operand::at(&b.predicted, at), stride), tokens, &w.x)
    }

    /// Records the streams behind a layer that has left `w.x`.
    pub(super) fn correct(&self, to: &mut Record<'_, B>, w: &Workspace<B>, of: &Updates<B>, tokens: u32) -> Result<()> {
        let (b, n) = (buffers(w), self.config.count);
        self.route(to, w, of, (Operand::new(&w.x), self.dim), tokens)?;
        let routed = || Input::plain(Operand::new(&b.routed));
        of.keep.apply(to, tokens, routed(), Then::default(), &b.weights)?;
        self.sum(to, [n, n], tokens, [&b.predicted, &b.weights, &b.streams], false)?;
        of.correct.apply(to, tokens, routed(), Then::default(), &b.weights)?;
        self.sum(to, [1, n], tokens, [&w.x, &b.weights, &b.streams], true)
    }

    /// Records what the branch of vectors reads, the active stream, and returns where it lies.
    pub(super) fn active<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        of: &Updates<B>,
        tokens: u32,
    ) -> Result<Operand<'a, B>> {
        let (at, stride) = self.stream(self.config.active);
        let from = Operand::at(&buffers(w).streams, at);
        match &of.scale {
            // A convolution of one token multiplies each element by a number.
            Some(scale) => {
                let plain = conv::Spec::new(1, tokens, self.dim, 1, conv::Activation::None);
                to(plain.with_stride(stride).into(), &[from, Operand::new(scale), Operand::new(&w.normed)])?;
            }
            None => self.copy(to, (from, stride), tokens, &w.normed)?,
        }
        Ok(Operand::new(&w.normed))
    }

    /// Records that `w.branch` is added to all streams but the first.
    pub(super) fn add(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let b = buffers(w);
        self.sum(to, [1, self.config.count], tokens, [&w.branch, &b.others, &b.streams], true)
    }

    /// Records the active stream in `w.x`, for somebody who looks at it.
    pub(super) fn show(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let (at, stride) = self.stream(self.config.active);
        self.copy(to, (Operand::at(&buffers(w).streams, at), stride), tokens, &w.x)
    }

    /// Records the mean of the streams behind the layers in `w.x`.
    pub(super) fn end(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let (b, n, dim) = (buffers(w), self.config.count, self.dim);
        let (_, x_stride) = self.stream(0);
        self.copy(to, (Operand::new(&b.streams), x_stride), tokens, &w.x)?;
        let y_stride = (n - 1) * dim;
        for (index, matrix) in (1..).zip(&self.end) {
            let ((at, _), (to_at, _)) = (self.stream(index), self.stream(index - 1));
            let part = &matrix.parts[0];
            let spec = linear::Spec::new(tokens, dim, dim, part.format).with_x_stride(x_stride).with_y_stride(y_stride);
            let [x, y] = [Operand::at(&b.streams, at), Operand::at(&b.predicted, to_at)];
            to(spec.into(), &[x, Operand::new(&part.buffer), y])?;
        }
        self.stretch(to, w, tokens, (Operand::new(&b.predicted), y_stride))?;
        self.sum(to, [n - 1, 1], tokens, [&b.predicted, &b.ones, &w.x], true)?;
        let plain = gate::Spec::new(tokens, 1, dim, gate::Kind::Identity);
        let spec = plain.with_in_place(true).with_gate(None).with_scale(1.0 / n as f32);
        to(spec.into(), &[Operand::new(&w.x)])
    }
}

impl<B: Backend> LowRank<B> {
    /// Records what is added behind the mixer that reads `y`, into `w.low_rank`.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (y, tokens): (Operand<'_, B>, u32),
        dim: u32,
    ) -> Result<()> {
        let Some([inner, out]) = w.low_rank.as_ref() else { unreachable!("such a product has buffers") };
        self.left.apply(to, tokens, Input::plain(y), Then::default(), inner)?;
        self.right.apply(to, tokens, Input::plain(Operand::new(inner)), Then::default(), out)?;
        self.norm.in_place(to, Operand::new(out), [tokens, 1, dim], dim)?;
        to(add::Spec::new(tokens, dim).into(), &[y, Operand::new(out)])
    }

    /// Records the addition to `w.x`, which is then divided by the root of 2.
    pub(super) fn add(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32, dim: u32) -> Result<()> {
        let Some([_, out]) = w.low_rank.as_ref() else { unreachable!("such a product has buffers") };
        to(add::Spec::new(tokens, dim).into(), &[out, &w.x].map(Operand::new))?;
        let plain = gate::Spec::new(tokens, 1, dim, gate::Kind::Identity);
        let spec = plain.with_in_place(true).with_gate(None).with_scale(std::f32::consts::FRAC_1_SQRT_2);
        to(spec.into(), &[Operand::new(&w.x)])
    }
}
