//! What a device can do, and what an op asks of it: passes as plain data.
//!
//! A [`Plan`] can be run by any engine: for each [`Pass`], bind `bindings` in order to group 0 as storage buffers, the
//! [`params`](Pass::params) as a uniform buffer at group 1 binding 0, and dispatch `workgroups`. Passes run in order, each
//! seeing what the ones before it wrote.

mod arg;
mod caps;
pub(crate) mod fill;
mod pass;
pub mod shader;
pub mod shape;

pub use arg::{Access, Arg, fit};
pub use caps::Caps;
pub use pass::{Binding, MAX_PARAMS, Memory, Param, Pass, PassBuilder, Value};
pub use shader::{Const, Features, Linked, Part, Shader};

use alloc::vec::Vec;

/// The passes of an op on a device.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    pub passes: Vec<Pass>,
    /// Bytes of each scratch buffer.
    pub scratch: Vec<u64>,
}

impl Plan {
    /// Bytes of everything that the passes bind, for each pass once, twice where it is read and written.
    ///
    /// What moves is this where every pass touches all that it binds and caches hold what it touches again. It is less
    /// for a pass that picks rows (a page table, ids), and more for one whose tiles read an operand several times; at
    /// least [`Kernel::bytes`](crate::ops::Kernel::bytes) moves in any case.
    pub fn bytes(&self) -> u64 {
        let once = |b: &Binding| b.bytes * if b.access == Access::ReadWrite { 2 } else { 1 };
        self.passes.iter().flat_map(|pass| &pass.bindings).map(once).sum()
    }

    /// Bytes of all scratch buffers.
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch.iter().sum()
    }

    /// Points at which the whole device waits: between a pass and the next.
    pub fn barriers(&self) -> usize {
        self.passes.len().saturating_sub(1)
    }

    /// Barriers of a workgroup that the shaders of all passes hold, as they are written: one inside of a loop counts once.
    pub fn workgroup_barriers(&self) -> usize {
        let code = |line: &'static str| line.split("//").next().unwrap_or_default();
        let parts = self.passes.iter().flat_map(|pass| &pass.shader.parts);
        parts.flat_map(|part| part.source.lines()).map(|line| code(line).matches("Barrier()").count()).sum()
    }
}
