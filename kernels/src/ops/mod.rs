//! The ops, one folder each, and their registry.

pub mod case;
pub(crate) mod gradients;
mod kernel;
pub mod settings;

pub mod attention;
pub mod cache;
pub mod delta_rule;
pub mod dense;
pub mod experts;
pub mod routing;
pub mod sampling;

pub use case::Case;
pub use kernel::Kernel;

use crate::error::Result;
use crate::plan::{Arg, fit};
use alloc::vec::Vec;

macro_rules! registry {
    ($($variant:ident => $family:ident :: $module:ident),* $(,)?) => {
        /// Every op; tests, benches, fuzz targets and the command line walk it.
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum Op { $(#[doc = concat!("The op `", stringify!($module), "`.")] $variant(crate::ops::$family::$module::Spec)),* }

        impl Op {
            /// The name of every op.
            pub const NAMES: &'static [&'static str] = &[$(crate::ops::$family::$module::NAME),*];

            /// The settings of every op, in the same order.
            pub const TABLES: &'static [&'static settings::Table] = &[$(&crate::ops::$family::$module::spec::TABLE),*];

            /// The spec as a [`Kernel`].
            pub fn kernel(&self) -> &dyn Kernel {
                match self { $(Op::$variant(spec) => spec),* }
            }
        }

        $(impl From<crate::ops::$family::$module::Spec> for Op {
            fn from(spec: crate::ops::$family::$module::Spec) -> Self { Op::$variant(spec) }
        })*

        /// Named cases of every op; see [`Case`].
        pub fn cases() -> Vec<crate::ops::case::Case> {
            let mut all = Vec::new();
            $(all.extend(crate::ops::$family::$module::cases::cases());)*
            all
        }
    };
}

registry! {
    Embed => dense::embed,
    Linear => dense::linear,
    FusedLinear => dense::fused_linear,
    Norm => dense::norm,
    Rope => dense::rope,
    Activation => dense::activation,
    Add => dense::add,
    Gate => dense::gate,
    Attention => attention::attention,
    AttentionBackward => attention::attention_backward,
    Conv => delta_rule::conv,
    ConvBackward => delta_rule::conv_backward,
    Delta => delta_rule::delta,
    DeltaGates => delta_rule::delta_gates,
    ScanGates => delta_rule::scan_gates,
    DeltaBackward => delta_rule::delta_backward,
    Merge => attention::merge,
    ExpertChoice => experts::expert_choice,
    ExpertLinear => experts::expert_linear,
    ExpertSum => experts::expert_sum,
    ClampedSwiglu => experts::clamped_swiglu,
    Route => routing::route,
    RouteStep => routing::route_step,
    Centroids => routing::centroids,
    SelectedAttention => routing::selected_attention,
    SelectedAttentionBackward => routing::selected_attention_backward,
    Append => cache::append,
    RopeAppend => cache::rope_append,
    Sample => sampling::sample,
}

impl Op {
    /// Returns the name of the op in settings and case files.
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
