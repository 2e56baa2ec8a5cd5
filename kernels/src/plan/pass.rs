//! One dispatch of a plan: shader, bindings, parameters and workgroups.

use super::arg::{Access, Arg};
use super::caps::Caps;
use super::shader::Shader;
use crate::error::{Error, Result};
use alloc::boxed::Box;
use alloc::vec::Vec;

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
#[non_exhaustive]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// The memory that is bound.
    pub memory: Memory,
    /// The access of the shader to the buffer.
    pub access: Access,
    /// Bytes to skip at the front, a multiple of [`Caps::alignment`].
    pub offset: u64,
    /// Bytes to bind.
    pub bytes: u64,
}

/// A member of the pass's `struct Params`, four bytes each, in order.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Param {
    /// The member's name.
    pub name: &'static str,
    /// The member's value.
    pub value: Value,
}

/// The value of a parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// A number without sign.
    U32(u32),
    /// A floating-point number.
    F32(f32),
    /// The offset of argument `arg` in its binding, in units of `unit` bytes: 0 if the caller's buffer begins with the
    /// argument. A caller can thus pass a part of a buffer that starts at any multiple of `unit`, not only of the
    /// device's alignment.
    Start {
        /// The index of the argument.
        arg: usize,
        /// Bytes of a unit.
        unit: u32,
    },
}

/// One dispatch.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Pass {
    /// The shader.
    pub shader: Shader,
    /// The buffers, in the order of their binding numbers.
    pub bindings: Vec<Binding>,
    /// The members of `Params`, in order.
    pub params: Vec<Param>,
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
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
    args: &'a [Arg],
    pass: Box<Pass>,
}

impl<'a> PassBuilder<'a> {
    /// Begins a pass of an op with these arguments.
    #[inline(never)]
    pub fn new(args: &'a [Arg], shader: Shader) -> Self {
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

    /// Adds a parameter of type `u32`.
    #[inline(never)]
    pub fn u32(self, name: &'static str, value: u32) -> Self {
        self.param(name, Value::U32(value))
    }

    /// Adds a parameter of type `f32`.
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
