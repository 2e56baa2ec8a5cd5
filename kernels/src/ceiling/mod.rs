//! Kernels that measure a device's peak rates: a copy for bytes, a loop of multiply-adds for flop.
//!
//! They are not ops, since no model uses them. Benchmarks compare the time of an op with theirs.
//!
//! ```text
//! Copy:      b = a                                   2 * 16 * vectors bytes
//! Multiply:  8 vectors of 4, rounds times x = x * factor + y     64 * rounds * invocations flop
//! ```

use crate::dtype::DType;
use crate::error::Result;
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// The name in errors and labels.
pub const NAME: &str = "ceiling";

/// Invocations per workgroup.
const GROUP: u32 = 256;

/// A load to measure; the [module](self) has the formulas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// `vectors` vectors of 16 bytes.
    Copy {
        /// Vectors of 16 bytes.
        vectors: u32,
    },
    /// `rounds` multiply-adds of eight vectors in each of `invocations` invocations.
    Multiply {
        /// Invocations, of which each writes one f32.
        invocations: u32,
        /// Multiply-adds of each vector.
        rounds: u32,
    },
}

impl Load {
    /// Returns the arguments of the load.
    pub fn args(&self) -> Vec<Arg> {
        match *self {
            Load::Copy { vectors } => vec![
                Arg::new("a", DType::U32, &[vectors, 4], Access::Read),
                Arg::new("b", DType::U32, &[vectors, 4], Access::Write),
            ],
            Load::Multiply { invocations, .. } => vec![Arg::new("out", DType::F32, &[invocations], Access::Write)],
        }
    }

    /// Plans the one dispatch of the load.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::error::Error::Limit) if the load exceeds the device's binding size or dispatch size.
    pub fn plan(&self, caps: &Caps) -> Result<Plan> {
        let shader = |name, part: Part| Shader {
            name,
            parts: vec![part!("plan/parts/each.wgsl"), part],
            consts: vec![("GROUP", Const::U32(GROUP))],
            features: Features::default(),
            workgroup_bytes: 0,
        };
        let (args, grid) = (self.args(), |n: u32| caps.grid(NAME, u64::from(n.div_ceil(GROUP))));
        let pass = match *self {
            Load::Copy { vectors } => PassBuilder::new(&args, shader("ceiling.copy", part!("ceiling/copy.wgsl")))
                .arg("a")
                .arg("b")
                .u32("vectors", vectors)
                .dispatch(NAME, caps, grid(vectors)?)?,
            Load::Multiply { invocations, rounds } => {
                PassBuilder::new(&args, shader("ceiling.multiply", part!("ceiling/multiply.wgsl")))
                    .arg("out")
                    .u32("rounds", rounds)
                    .u32("invocations", invocations)
                    .f32("factor", 0.5)
                    .dispatch(NAME, caps, grid(invocations)?)?
            }
        };
        Ok(Plan { passes: vec![pass], scratch: Vec::new() })
    }

    /// Returns the floating-point operations of the load.
    pub fn flop(&self) -> u64 {
        match *self {
            Load::Copy { .. } => 0,
            Load::Multiply { invocations, rounds } => 64 * u64::from(invocations) * u64::from(rounds),
        }
    }

    /// Returns the bytes that the load reads and writes.
    pub fn bytes(&self) -> u64 {
        match *self {
            Load::Copy { vectors } => 32 * u64::from(vectors),
            Load::Multiply { invocations, .. } => 4 * u64::from(invocations),
        }
    }
}
