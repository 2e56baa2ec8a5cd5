//! What a device can do, and what an op asks of it: passes as plain data.
//!
//! A [`Plan`] can be run by any engine: for each [`Pass`], bind `bindings` in order to group 0 as storage buffers, the
//! [`params`](Pass::params) as a uniform buffer at group 1 binding 0, and dispatch `workgroups`. Passes run in order, each
//! seeing what the ones before it wrote.

use crate::error::{Error, Result};
use crate::op::Access;
use crate::shader::Shader;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Limits and features that plans are chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caps {
    pub shader_f16: bool,
    pub subgroups: bool,
    /// Smallest and largest subgroup that the device may run a shader with; 0 without `subgroups`.
    pub subgroup_min: u32,
    pub subgroup_max: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    pub invocations: u32,
    pub storage_buffers: u32,
    /// Bytes that one binding can span.
    pub binding_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Workgroups in each dimension of a dispatch.
    pub workgroups: u32,
    /// Bytes to which the offset of a storage binding is aligned.
    pub alignment: u32,
    /// A driver that runs on the host's processor.
    pub software: bool,
}

impl Caps {
    /// What every WebGPU device has: the defaults of the specification, no optional feature.
    pub const WEBGPU: Caps = Caps {
        shader_f16: false,
        subgroups: false,
        subgroup_min: 0,
        subgroup_max: 0,
        workgroup_bytes: 16384,
        invocations: 256,
        storage_buffers: 8,
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroups: 65535,
        alignment: 256,
        software: false,
    };

    /// Rows of `row_bytes` that one binding holds such that the next rows begin at an aligned offset, at least one.
    ///
    /// Tensors above [`binding_bytes`](Caps::binding_bytes) are cut at multiples of this, on the device and in plans.
    pub fn rows_per_binding(&self, op: &'static str, row_bytes: u64) -> Result<u32> {
        let align = self.alignment as u64;
        // The fewest rows whose bytes are a multiple of the alignment (a power of two).
        let step = align >> row_bytes.trailing_zeros().min(align.trailing_zeros());
        let room = self.binding_bytes.min(self.buffer_bytes);
        match (room / row_bytes.max(1)) / step * step {
            0 => Err(Error::Limit { op, what: "bytes in a binding", needs: row_bytes * step, has: room }),
            rows => Ok(rows.min(u32::MAX as u64) as u32),
        }
    }

    /// A grid of at least `n` workgroups in two dimensions; kernels take `y * num_workgroups.x + x` and return beyond `n`.
    pub fn grid(&self, op: &'static str, n: u64) -> Result<[u32; 3]> {
        let max = self.workgroups as u64;
        let y = n.div_ceil(max).max(1);
        if y > max {
            return Err(Error::Limit { op, what: "workgroups in a dispatch", needs: n, has: max * max });
        }
        Ok([n.div_ceil(y) as u32, y as u32, 1])
    }
}

/// The memory behind a binding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Memory {
    /// Argument `.0` of the op, in the order of its `args`.
    Arg(usize),
    /// Scratch `.0` of the plan.
    Scratch(usize),
}

/// One storage buffer of a pass, at group 0 and the binding of its position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    pub memory: Memory,
    /// Whether the shader writes it.
    pub access: Access,
    /// Bytes to skip at the front, a multiple of [`Caps::alignment`].
    pub offset: u64,
    /// Bytes to bind.
    pub bytes: u64,
}

/// A member of the pass's `struct Params`, four bytes each, in order.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Param {
    pub name: &'static str,
    pub value: Value,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    U32(u32),
    F32(f32),
    /// Where argument `arg` begins in its binding, in units of `unit` bytes: 0 when the caller's buffer begins with the
    /// argument. It lets a caller hand over a part of a buffer that starts at any multiple of `unit`, not only of the
    /// device's alignment.
    Start {
        arg: usize,
        unit: u32,
    },
}

/// One dispatch.
#[derive(Clone, PartialEq, Debug)]
pub struct Pass {
    pub shader: Shader,
    pub bindings: Vec<Binding>,
    pub params: Vec<Param>,
    pub workgroups: [u32; 3],
}

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
    /// least [`Kernel::bytes`](crate::op::Kernel::bytes) moves in any case.
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

/// Parameters of a pass take at most this many words: they share one uniform buffer, 256 bytes apart.
pub const MAX_PARAMS: usize = 64;

impl Pass {
    /// Checks what every device would refuse, so that a plan which cannot fit is a typed error.
    pub fn check(&self, op: &'static str, caps: &Caps) -> Result<()> {
        let limit = |what, needs: u64, has: u64| {
            if needs > has { Err(Error::Limit { op, what, needs, has }) } else { Ok(()) }
        };
        limit("bytes of workgroup memory", self.shader.workgroup_bytes as u64, caps.workgroup_bytes as u64)?;
        limit("storage buffers in a pass", self.bindings.len() as u64, caps.storage_buffers as u64)?;
        limit("parameter words", self.params.len() as u64, MAX_PARAMS as u64)?;
        for b in &self.bindings {
            limit("bytes in a binding", b.bytes, caps.binding_bytes)?;
        }
        for n in self.workgroups {
            limit("workgroups in a dimension", n as u64, caps.workgroups as u64)?;
        }
        Ok(())
    }
}

/// Builds a [`Pass`] of an op: bindings by argument name, parameters in order.
///
/// Planning is long and need not be fast: nothing of it is inlined, and the pass stays where it is.
pub struct PassBuilder<'a> {
    args: &'a [crate::op::Arg],
    pass: Box<Pass>,
}

impl<'a> PassBuilder<'a> {
    #[inline(never)]
    pub fn new(args: &'a [crate::op::Arg], shader: Shader) -> Self {
        let pass = Pass { shader, bindings: Vec::new(), params: Vec::new(), workgroups: [1, 1, 1] };
        Self { args, pass: Box::new(pass) }
    }

    #[inline(never)]
    fn position(&self, name: &str) -> usize {
        self.args.iter().position(|a| a.name == name).expect("a plan names arguments of its op")
    }

    /// Binds a whole argument; read-only unless the op writes it.
    #[inline(never)]
    pub fn arg(self, name: &'static str) -> Self {
        let bytes = self.args[self.position(name)].bytes();
        self.arg_range(name, 0, bytes)
    }

    /// Binds a whole argument under the name that a shader of several ops has for it.
    #[inline(never)]
    pub fn arg_as(mut self, name: &'static str, arg: &'static str) -> Self {
        self = self.arg(arg);
        if let Some(binding) = self.pass.bindings.last_mut() {
            binding.name = name;
        }
        self
    }

    /// Binds `bytes` bytes of an argument from `offset`.
    #[inline(never)]
    pub fn arg_range(mut self, name: &'static str, offset: u64, bytes: u64) -> Self {
        let index = self.position(name);
        let access = self.args[index].access;
        self.pass.bindings.push(Binding { name, memory: Memory::Arg(index), access, offset, bytes });
        self
    }

    /// Binds scratch `index`.
    #[inline(never)]
    pub fn scratch(mut self, name: &'static str, index: usize, bytes: u64, access: Access) -> Self {
        self.pass.bindings.push(Binding { name, memory: Memory::Scratch(index), access, offset: 0, bytes });
        self
    }

    #[inline(never)]
    pub fn u32(self, name: &'static str, value: u32) -> Self {
        self.param(name, Value::U32(value))
    }

    #[inline(never)]
    pub fn f32(self, name: &'static str, value: f32) -> Self {
        self.param(name, Value::F32(value))
    }

    /// The offset of argument `arg` inside its binding, in units of `unit` bytes; see [`Value::Start`].
    #[inline(never)]
    pub fn start(self, name: &'static str, arg: &'static str, unit: u32) -> Self {
        let arg = self.position(arg);
        self.param(name, Value::Start { arg, unit })
    }

    /// [`start`](Self::start) of an argument that the spec may leave out; 0 where it does.
    #[inline(never)]
    pub fn start_if_present(self, name: &'static str, arg: &'static str, unit: u32) -> Self {
        match self.args.iter().position(|a| a.name == arg) {
            Some(arg) => self.param(name, Value::Start { arg, unit }),
            None => self.u32(name, 0),
        }
    }

    #[inline(never)]
    fn param(mut self, name: &'static str, value: Value) -> Self {
        self.pass.params.push(Param { name, value });
        self
    }

    /// The finished pass over `workgroups`, checked against `caps`.
    #[inline(never)]
    pub fn dispatch(mut self, op: &'static str, caps: &Caps, workgroups: [u32; 3]) -> Result<Pass> {
        self.pass.workgroups = workgroups;
        self.pass.check(op, caps)?;
        Ok(*self.pass)
    }
}
