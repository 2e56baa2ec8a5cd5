//! Rows times gates, with what skips a recurrence added in front.
//!
//! ```text
//! out[r, h, i] = scale f(factor gate[r, h, i]) (x[r, h, i] + skip[h] s[r, h, i])
//! ```
//!
//! where `f(z)` is `z`, `1 / (1 + exp(-z))` or `z / (1 + exp(-z))`. With `of_heads`, `gate[r, h]` is the gate of a whole
//! head; without a gate, its factor is 1; without a skip, `x` is multiplied alone.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[rows, heads, dim]` | f32 | rows `stride` apart; written with `in_place` |
//! | `s` | `[rows, heads, dim]` | f32 | only with a skip; rows apart by its stride |
//! | `skip` | `[heads]` | f32 | only with a skip |
//! | `gate` | `[rows, heads, dim]` or `[rows, heads]` | f32 | only with a gate; rows apart by its stride |
//! | `out` | `[rows, heads, dim]` | f32 | dense; absent with `in_place`, where `x` is replaced |
//!
//! Edge values: of a large negative gate, sigmoid and SiLU are 0.
//!
//! Errors: `Shape` for strides below the row, factors that are not finite, more than 2^32 - 1 elements of an argument.
//!
//! Cost: about 10 flop an output; every element is read and written once.
//!
//! Source: Mamba-2 (Dao and Gu, 2405.21060); the double-gated short convolution of LFM2 (2511.23404).

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg, Caps, Plan};
use alloc::vec::Vec;

pub use spec::{Gate, Kind, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "gate";

impl Spec {
    /// Dense rows that are multiplied by dense rows.
    pub fn new(rows: u32, heads: u32, dim: u32, kind: Kind) -> Self {
        let stride = heads.saturating_mul(dim);
        let gate = Some(Gate { kind, of_heads: false, factor: 1.0, stride });
        Self { rows, heads, dim, scale: 1.0, stride, in_place: false, gate, skip: None }
    }

    /// Elements of a row of the gate.
    fn gates(&self) -> u32 {
        if self.gate.is_some_and(|gate| gate.of_heads) { self.heads } else { self.heads.saturating_mul(self.dim) }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let width = elements(NAME, "x", &[self.heads, self.dim])?;
        require(self.scale.is_finite(), NAME, "scale", "finite", self.scale)?;
        strided(NAME, "x", self.rows, self.stride, width)?;
        if let Some(stride) = self.skip {
            strided(NAME, "s", self.rows, stride, width)?;
        }
        if let Some(gate) = self.gate {
            require(gate.factor.is_finite(), NAME, "factor", "finite", gate.factor)?;
            strided(NAME, "gate", self.rows, gate.stride, self.gates())?;
        }
        elements(NAME, "out", &[self.rows, self.heads, self.dim])?;
        elements(NAME, "gate", &[self.rows, self.heads]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let (shape, width) = ([self.rows, self.heads, self.dim], self.heads.saturating_mul(self.dim));
        let span = |name, stride, width| strided(NAME, name, self.rows, stride, width).unwrap_or(0);
        let access = if self.in_place { Access::ReadWrite } else { Access::Read };
        let mut args = alloc::vec![Arg::new("x", DType::F32, &shape, access).spanning(span("x", self.stride, width))];
        if let Some(stride) = self.skip {
            args.push(Arg::new("s", DType::F32, &shape, Access::Read).spanning(span("s", stride, width)));
            args.push(Arg::new("skip", DType::F32, &[self.heads], Access::Read));
        }
        if let Some(gate) = self.gate {
            let shape = if gate.of_heads { &shape[..2] } else { &shape[..] };
            let span = span("gate", gate.stride, self.gates());
            args.push(Arg::new("gate", DType::F32, shape, Access::Read).spanning(span));
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
        10 * u64::from(self.rows) * u64::from(self.heads) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
