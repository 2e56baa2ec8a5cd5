//! Device capabilities, and the passes of an op as plain data.
//!
//! A [`Plan`] is data, and any engine can run it. `examples/own_engine.rs` does so with wgpu, in a hundred lines. An engine
//! keeps this contract:
//!
//! - **Buffers.** Each argument has at least [`Arg::bytes`] bytes, each scratch buffer those that [`Plan::scratch`] says.
//!   Kernels read vectors of 16 bytes, and may read to the end of the last one: round every buffer up to a multiple of 16.
//!   Scratch holds nothing between two ops, so all ops can share it. An argument that is written shares its buffer with no
//!   other argument.
//! - **Shaders.** [`Shader::link`] gives the text, whose entry point is `main`. Compilers differ in the `enable` lines that
//!   they want: [`Shader::link_for`] takes the [`Compiler`]. Pipelines can be kept by [`Shader`], which is hashable. Kernels
//!   keep indices inside of buffers of the demanded sizes and write workgroup memory before they read it, so that bounds
//!   checks and zero initialisation can be turned off.
//! - **Bindings.** [`Pass::bindings`] stand in group 0, in order, as storage buffers: `read` where [`Access`] is
//!   [`Read`](Access::Read), else `read_write`. Bind from [`Binding::offset`] on, which is a multiple of
//!   [`Caps::alignment`], [`Binding::bytes`] bytes rounded up to a multiple of 16, or to the buffer's end if that is nearer;
//!   at least to a multiple of 4.
//! - **Parameters.** [`Pass::params`] is a uniform buffer at group 1, binding 0: a word of four bytes for each, in order and
//!   in the device's byte order, without gaps. Pad the block with zeros to a multiple of 16 bytes; it never exceeds
//!   [`MAX_PARAMS`] words, so blocks of 256 bytes fit all passes and every device's offset alignment.
//! - **Parts of buffers.** An argument may begin inside of a buffer. If its place is a multiple of the alignment, add it to
//!   the binding's offset. Otherwise bind from the aligned place before it and give the distance, divided by `unit`, as the
//!   parameter [`Value::Start`] of that argument; where a pass has no such parameter for it, the place must be aligned.
//!   `Start` is 0 for an argument that begins with its binding.
//! - **Order.** Dispatch [`Pass::workgroups`]. Passes run in order, and each sees what those before it wrote.

mod arg;
mod caps;
pub(crate) mod fill;
mod named;
mod pass;
pub mod shader;
pub mod shape;

pub use arg::{Access, Arg, fit};
pub use caps::Caps;
pub use named::{Tensors, missing, order};
pub use pass::{Binding, MAX_PARAMS, Memory, Param, Pass, PassBuilder, Value};
pub use shader::{Compiler, Const, Features, Linked, Part, Shader};

use alloc::vec::Vec;

/// The passes of an op on a device.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Plan {
    /// The dispatches, in order; each sees what those before it have written.
    pub passes: Vec<Pass>,
    /// Bytes of each scratch buffer.
    pub scratch: Vec<u64>,
}

impl Plan {
    /// Bytes of everything that the passes bind, for each pass once, twice where it is read and written.
    ///
    /// This is the memory traffic if every pass touches all bytes that it binds, each once. A pass that picks rows (a
    /// page table, ids) moves less; a pass whose tiles read an operand several times may move more.
    /// [`Kernel::bytes`](crate::ops::Kernel::bytes) is the minimum.
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
