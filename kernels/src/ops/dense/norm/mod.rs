//! Root-mean-square and layer normalisation, with the residual addition in front of it.
//!
//! ```text
//! x[r, g]  += residual[r, g]                                        with `residual`; the sum stays in x
//! rms:      out[r, g] = x / sqrt(mean(x^2) + eps) * w
//! layer:    out[r, g] = (x - mean(x)) / sqrt(var(x) + eps) * w + bias
//! with `gate` out[r, g] times s(gate[r, g]), where s(z) is z / (1 + exp(-z)) or 1 / (1 + exp(-z))
//! ```
//!
//! over the `dim` elements of each group. `w` is `weight`, or `1 + weight` with `one_plus`.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[rows, groups, dim]` | f32 | rows `stride` apart; written with `residual` or `in_place` |
//! | `residual` | `[rows, groups, dim]` | f32 | only with `residual`; dense |
//! | `weight` | `[dim]` | f32 | the same for every group; `[groups, dim]` with `own` |
//! | `bias` | `[dim]` | f32 | only with `bias` |
//! | `gate` | `[rows, groups, dim]` | f32 | only with `gate`; rows apart by its stride |
//! | `out` | `[rows, groups, dim]` | f32 | dense; absent with `in_place`, where `x` is replaced |
//!
//! Edge values: a row of zeros gives zeros (plus the bias). `var` is the mean of squared deviations, not the unbiased one.
//!
//! Errors: `Shape` for `dim` 0, strides below the row, `residual` together with `in_place`, or an `eps` that is negative
//! or not finite.
//!
//! Cost: about `4 rows groups dim` flop; every element is read once and written once, twice each with `residual`.
//!
//! Source: RMSNorm (Zhang and Sennrich, 1910.07467), layer norm (Ba et al., 1607.06450); `one_plus` is Gemma's; groups
//! serve the per-head norms of queries and keys; gates are those of Gated DeltaNet (2412.06464) and, as a sigmoid, of Kimi
//! Linear (2510.26692).

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::activation;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};

pub use spec::{Gate, Kind, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "norm";

impl Spec {
    /// A dense root-mean-square norm of whole rows.
    pub fn rms(rows: u32, dim: u32, eps: f32) -> Self {
        Self {
            rows,
            groups: 1,
            dim,
            kind: Kind::Rms,
            eps,
            one_plus: false,
            own: false,
            bias: false,
            residual: false,
            in_place: false,
            gate: None,
            stride: dim,
        }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        require(self.dim > 0, NAME, "dim", "at least 1", self.dim)?;
        require(self.eps >= 0.0 && self.eps.is_finite(), NAME, "eps", "finite and not negative", self.eps)?;
        require(!(self.residual && self.in_place), NAME, "in_place", "false with a residual", self.in_place)?;
        let width = elements(NAME, "x", &[self.groups, self.dim])?;
        strided(NAME, "x", self.rows, self.stride, width)?;
        if let Some(Gate { kind, stride }) = self.gate {
            let known = matches!(kind, activation::Kind::Silu | activation::Kind::Sigmoid);
            require(known, NAME, "gate", "Silu or Sigmoid", format!("{kind:?}"))?;
            strided(NAME, "gate", self.rows, stride, width)?;
        }
        elements(NAME, "out", &[self.rows, self.groups, self.dim])?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let shape = [self.rows, self.groups, self.dim];
        let span = strided(NAME, "x", self.rows, self.stride, self.groups * self.dim).unwrap_or(0);
        let access = if self.residual || self.in_place { Access::ReadWrite } else { Access::Read };
        let mut args = alloc::vec![Arg::new("x", DType::F32, &shape, access).spanning(span)];
        if self.residual {
            args.push(Arg::new("residual", DType::F32, &shape, Access::Read));
        }
        let weight: &[u32] = if self.own { &[self.groups, self.dim] } else { &[self.dim] };
        args.push(Arg::new("weight", DType::F32, weight, Access::Read));
        if self.bias {
            args.push(Arg::new("bias", DType::F32, &[self.dim], Access::Read));
        }
        if let Some(gate) = self.gate {
            let span = strided(NAME, "gate", self.rows, gate.stride, self.groups * self.dim).unwrap_or(0);
            args.push(Arg::new("gate", DType::F32, &shape, Access::Read).spanning(span));
        }
        if !self.in_place {
            args.push(Arg::new("out", DType::F32, &shape, Access::Write));
        }
        args
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(self, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(self, host, args)
    }

    fn flop(&self) -> u64 {
        4 * u64::from(self.rows) * u64::from(self.groups) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
