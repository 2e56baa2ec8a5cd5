//! The registry of ops.

use crate::cases::Rng;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::host::{Args, Host};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

/// What an op does with an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

impl Access {
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// One argument of an op.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arg {
    /// The name in case files, in Rust and in WGSL.
    pub name: &'static str,
    pub dtype: DType,
    /// Row-major shape, for messages and case files.
    pub shape: Vec<u32>,
    /// Elements that the op may touch: the product of `shape`, or more where rows stand apart.
    pub elements: u32,
    pub access: Access,
    /// Rows that this tensor may be cut into when it is larger than a binding: `(rows, bytes of a row)`.
    pub rows: Option<(u32, u64)>,
}

impl Arg {
    /// A dense argument; `shape` has been checked to have at most `u32::MAX` elements.
    pub fn new(name: &'static str, dtype: DType, shape: &[u32], access: Access) -> Self {
        // A factor of 0 may stand behind others that overflow.
        let elements = if shape.contains(&0) { 0 } else { shape.iter().product() };
        Self { name, dtype, shape: shape.to_vec(), elements, access, rows: None }
    }

    /// The same with `elements` in place of the product of the shape.
    pub fn spanning(mut self, elements: u32) -> Self {
        self.elements = elements;
        self
    }

    /// Bytes that the argument needs.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes(self.elements as u64).expect("a validated spec has whole blocks")
    }
}

/// What every op's `Spec` does.
///
/// `args`, `plan`, `reference`, `cpu` and `flop` are called after [`validate`](Kernel::validate) has returned `Ok`.
pub trait Kernel {
    fn name(&self) -> &'static str;

    /// Checks every field; nothing may run before it has passed.
    fn validate(&self) -> Result<()>;

    /// The arguments in order. Optional ones are there only when the spec asks for them.
    fn args(&self) -> Vec<Arg>;

    /// The passes that compute the op on a device with these caps.
    ///
    /// # Errors
    /// [`Error::Limit`] if no variant fits, [`Error::Unsupported`] if there is no GPU form of a valid spec.
    fn plan(&self, caps: &Caps) -> Result<Plan>;

    /// The definition.
    fn reference(&self, args: &mut Args<'_>);

    /// The fast host form.
    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>);

    /// Floating-point operations, a multiply-add counted as two.
    fn flop(&self) -> u64;

    /// Least bytes that must move: every argument once, twice if it is read and written. Ops that touch a part of an
    /// argument say so.
    fn bytes(&self) -> u64 {
        let once = |a: Arg| a.bytes() * if a.access == Access::ReadWrite { 2 } else { 1 };
        self.args().into_iter().map(once).sum()
    }

    /// Bytes for every argument that make a meaningful run: ids inside the vocabulary, page tables inside the pool.
    /// What is only written is filled with NaN bits.
    fn inputs(&self, rng: &mut Rng) -> Vec<Vec<u8>>;
}

macro_rules! registry {
    ($($variant:ident => $module:ident),* $(,)?) => {
        /// Every op; tests, benches, fuzz targets and the command line walk it.
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum Op { $($variant(crate::$module::Spec)),* }

        impl Op {
            /// The name of every op.
            pub const NAMES: &'static [&'static str] = &[$(crate::$module::NAME),*];

            /// The spec as a [`Kernel`].
            pub fn kernel(&self) -> &dyn Kernel {
                match self { $(Op::$variant(spec) => spec),* }
            }
        }

        $(impl From<crate::$module::Spec> for Op {
            fn from(spec: crate::$module::Spec) -> Self { Op::$variant(spec) }
        })*

        /// Named cases of every op; see [`crate::cases`].
        pub fn cases() -> Vec<crate::cases::Case> {
            let mut all = Vec::new();
            $(all.extend(crate::$module::cases::cases());)*
            all
        }
    };
}

registry! {
    Embed => embed,
    Linear => linear,
    FusedLinear => fused_linear,
    Norm => norm,
    Rope => rope,
    Activation => activation,
    Attention => attention,
    AttentionBackward => attention_backward,
    Conv => conv,
    ConvBackward => conv_backward,
    Delta => delta,
    DeltaGates => delta_gates,
    DeltaBackward => delta_backward,
    Merge => merge,
    Route => route,
    RouteStep => route_step,
    Centroids => centroids,
    SelectedAttention => selected_attention,
    SelectedAttentionBackward => selected_attention_backward,
    Append => cache,
    RopeAppend => rope_append,
    Sample => sample,
}

/// Checks that `lengths`, in bytes, hold the arguments of `op`.
pub fn fit(op: &'static str, args: &[Arg], lengths: &[u64]) -> Result<()> {
    if args.len() != lengths.len() {
        return Err(Error::Shape {
            op,
            arg: "arguments",
            expected: alloc::format!("{:?}", args.iter().map(|a| a.name).collect::<Vec<_>>()),
            got: alloc::format!("{} of them", lengths.len()),
        });
    }
    for (arg, &length) in args.iter().zip(lengths) {
        if length < arg.bytes() {
            return Err(Error::Shape {
                op,
                arg: arg.name,
                expected: alloc::format!("{:?} of {} in {} bytes", arg.shape, arg.dtype, arg.bytes()),
                got: alloc::format!("{length} bytes"),
            });
        }
    }
    Ok(())
}

impl Op {
    pub fn name(&self) -> &'static str {
        self.kernel().name()
    }

    /// Checks the spec and that `lengths`, in bytes, hold its arguments.
    pub fn check(&self, lengths: &[u64]) -> Result<Vec<Arg>> {
        let kernel = self.kernel();
        kernel.validate()?;
        let args = kernel.args();
        fit(kernel.name(), &args, lengths)?;
        Ok(args)
    }

    /// Least bytes that must move.
    pub fn bytes(&self) -> u64 {
        self.kernel().bytes()
    }
}
