//! A product of few tokens with the norm before it and what follows it.
//!
//! ```text
//! h[t] = x[t] / sqrt(mean(x[t]^2) + eps) * w                         with a norm; else h = x
//! p[t, n] = sum_k h[t, k] * weight[n, k] + bias[n]
//! y[t, n] = [y[t, n] +] f(p[t, n])                                   plain; without an activation f(p) = p
//! y[t, n] = [y[t, n] +] f(p[t, n]) * p[t, outputs + n]               gated
//! ```
//!
//! `w` is `norm`, or `1 + norm` with `one_plus`; `y` is added to with `residual`. `rows` is `outputs`, or `2 outputs` where
//! gated: gates first, as in [`activation`].
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[tokens, inputs]` | f32 | rows `x_stride` apart |
//! | `weight` | `[rows, inputs]` | `format` | any weight format, decoded on the way |
//! | `norm` | `[inputs]` | f32 | only with a norm |
//! | `bias` | `[rows]` | f32 | only with `bias` |
//! | `y` | `[tokens, outputs]` | f32 | rows `y_stride` apart, the gaps are left as they are; read with `residual` |
//!
//! Edge values: a row of zeros is normalised to zeros; no tokens or no outputs write nothing.
//!
//! Errors: `Shape` for more than [`FEW`] tokens, no inputs, an activation that has numbers, an `eps` that is negative or not finite, and all that
//! [`linear`] refuses.
//!
//! Cost: that of [`linear`], and `4 tokens inputs` and about 10 flop an activated output. Against the ops apart, the
//! normalised row, the products and the branch are neither written nor read again, and three dispatches are one.
//!
//! Source: the inverse of the norm is taken out of the sum, `sum_k (x_k w_k) weight[n, k]`, so that the squares are summed
//! while the product is. A gated weight larger than a binding leaves its products in scratch and takes a pass more.

pub(crate) mod cases;
mod cpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host, View};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::weight::{check_weight, weight_arg};
use crate::ops::dense::{activation, linear, matvec, norm};
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec, vec::Vec};

pub use spec::{Activation, Norm, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "fused_linear";

/// Most tokens.
pub const FEW: u32 = matvec::FEW;

impl From<linear::Spec> for Spec {
    /// The product alone.
    fn from(spec: linear::Spec) -> Self {
        let linear::Spec { tokens, inputs, outputs, format, bias, x_stride, y_stride } = spec;
        let (norm, activation, residual) = (None, None, false);
        Self { tokens, inputs, outputs, format, norm, bias, activation, residual, x_stride, y_stride }
    }
}

impl Spec {
    /// The product alone, of dense rows.
    pub fn new(tokens: u32, inputs: u32, outputs: u32, format: DType) -> Self {
        linear::Spec::new(tokens, inputs, outputs, format).into()
    }

    fn gated(&self) -> bool {
        self.activation.is_some_and(|a| a.gated)
    }

    /// The settings as the planner takes them.
    fn product(&self) -> matvec::Product {
        let Self { tokens, inputs, outputs, format, norm, bias, activation, residual, x_stride, y_stride } = *self;
        let op = NAME;
        matvec::Product { op, tokens, inputs, outputs, format, norm, bias, activation, residual, x_stride, y_stride }
    }

    /// Rows of the weight.
    fn rows(&self) -> u32 {
        self.outputs * if self.gated() { 2 } else { 1 }
    }

    /// The norm as an op, to a dense output.
    fn norm_op(&self) -> Option<norm::Spec> {
        self.norm.map(|Norm { eps, one_plus }| norm::Spec {
            one_plus,
            stride: self.x_stride,
            ..norm::Spec::rms(self.tokens, self.inputs, eps)
        })
    }

    /// The product as an op, of what the norm leaves, to a dense output.
    fn linear_op(&self) -> linear::Spec {
        linear::Spec {
            bias: self.bias,
            x_stride: if self.norm.is_some() { self.inputs } else { self.x_stride },
            ..linear::Spec::new(self.tokens, self.inputs, self.rows(), self.format)
        }
    }

    /// The activation as an op, dense.
    fn activation_op(&self) -> Option<activation::Spec> {
        self.activation.map(|Activation { kind, gated }| activation::Spec {
            gated,
            stride: self.rows(),
            ..activation::Spec::new(self.tokens, self.outputs, kind)
        })
    }

    /// The ops one after the other, each as `run` runs it.
    fn apart(&self, args: &mut Args<'_>, run: impl Fn(&dyn Kernel, &mut Args<'_>)) {
        let (tokens, y_stride) = (self.tokens as usize, self.y_stride as usize);
        let (weight, bias, y) = (args.bytes("weight"), args.optional("bias"), args.out("y"));
        let mut x = args.bytes("x");
        let mut normed = vec![0f32; if self.norm.is_some() { tokens * self.inputs as usize } else { 0 }];
        if let Some(op) = self.norm_op() {
            let out = View::Out(bytemuck::cast_slice_mut(&mut normed));
            run(&op, &mut Args::new(&op.args(), vec![View::In(x), View::In(args.bytes("norm")), out]));
            x = bytemuck::cast_slice(&normed);
        }
        let multiply = |spec: linear::Spec, y: &mut [f32]| {
            let mut views = vec![View::In(x), View::In(weight)];
            views.extend(bias.map(|bias| View::In(bytemuck::cast_slice(bias))));
            views.push(View::Out(bytemuck::cast_slice_mut(y)));
            run(&spec, &mut Args::new(&spec.args(), views));
        };
        if self.activation.is_none() && !self.residual {
            return multiply(linear::Spec { y_stride: self.y_stride, ..self.linear_op() }, y);
        }
        let mut products = vec![0f32; tokens * self.rows() as usize];
        multiply(self.linear_op(), &mut products);
        if let Some(op) = self.activation_op() {
            let mut out = vec![0f32; tokens * self.outputs as usize];
            let views = vec![View::In(bytemuck::cast_slice(&products)), View::Out(bytemuck::cast_slice_mut(&mut out))];
            run(&op, &mut Args::new(&op.args(), views));
            products = out;
        }
        for (t, row) in products.chunks_exact(self.outputs.max(1) as usize).enumerate() {
            for (y, value) in y[t * y_stride..].iter_mut().zip(row) {
                *y = if self.residual { *y + value } else { *value };
            }
        }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        require(self.tokens <= FEW, NAME, "tokens", format!("at most {FEW}"), self.tokens)?;
        require(self.inputs > 0, NAME, "inputs", "at least 1", self.inputs)?;
        if let Some(Norm { eps, .. }) = self.norm {
            require(eps >= 0.0 && eps.is_finite(), NAME, "eps", "finite and not negative", eps)?;
        }
        if let Some(Activation { kind, .. }) = self.activation {
            let numbers = matches!(kind, activation::Kind::Xielu | activation::Kind::Cap | activation::Kind::Clip);
            require(!numbers, NAME, "kind", "an activation without numbers", kind.name())?;
        }
        let rows = elements(NAME, "weight", &[self.outputs, if self.gated() { 2 } else { 1 }])?;
        check_weight(NAME, self.format, rows, self.inputs)?;
        elements(NAME, "y", &[self.tokens, rows])?;
        strided(NAME, "x", self.tokens, self.x_stride, self.inputs)?;
        strided(NAME, "y", self.tokens, self.y_stride, self.outputs)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let matrix = |name, width, stride, access| {
            let span = strided(NAME, name, self.tokens, stride, width).unwrap_or(0);
            Arg::new(name, DType::F32, &[self.tokens, width], access).spanning(span)
        };
        let vector = |name, elements| Arg::new(name, DType::F32, &[elements], Access::Read);
        let mut args = vec![
            matrix("x", self.inputs, self.x_stride, Access::Read),
            weight_arg(self.format, self.rows(), self.inputs),
        ];
        args.extend(self.norm.map(|_| vector("norm", self.inputs)));
        args.extend(self.bias.then(|| vector("bias", self.rows())));
        let access = if self.residual { Access::ReadWrite } else { Access::Write };
        args.push(matrix("y", self.outputs, self.y_stride, access));
        args
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        matvec::plan(&self.product(), &self.args(), caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(self, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(self, host, args)
    }

    fn flop(&self) -> u64 {
        let norm = self.norm_op().map_or(0, |op| op.flop());
        norm + self.linear_op().flop() + self.activation_op().map_or(0, |op| op.flop())
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
