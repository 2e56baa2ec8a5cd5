//! The trait that every spec implements.

use crate::cpu::{Args, Host};
use crate::error::Result;
use crate::plan::{Access, Arg, Caps, Plan};
use crate::rng::Rng;
use alloc::vec::Vec;

/// Interface of every op's `Spec`.
///
/// `args`, `plan`, `reference`, `cpu` and `flop` are called after [`validate`](Kernel::validate) has returned `Ok`.
pub trait Kernel {
    /// Returns the name of the op in settings and case files.
    fn name(&self) -> &'static str;

    /// Checks every field; nothing may run before it has passed.
    fn validate(&self) -> Result<()>;

    /// The arguments in order. Optional ones are there only when the spec asks for them.
    fn args(&self) -> Vec<Arg>;

    /// The passes that compute the op on a device with these caps.
    ///
    /// # Errors
    /// `Limit` if no variant fits, `Unsupported` if there is no GPU form of a valid spec.
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

    /// Returns bytes for every argument that make a meaningful run: ids inside the vocabulary, page tables inside the
    /// pool. Arguments that are only written are filled with NaN bits.
    fn inputs(&self, rng: &mut Rng) -> Vec<Vec<u8>>;
}
