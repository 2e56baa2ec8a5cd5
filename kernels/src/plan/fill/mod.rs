//! Passes shared by several ops: clearing outputs and copying arguments, one invocation per 4-byte element.

use crate::error::Result;
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder};
use alloc::vec;

/// Invocations per workgroup.
const GROUP: u32 = 64;

/// Destination of a fill or a copy.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A whole argument.
    Arg(&'static str),
    /// Elements `start..start + elements` of scratch buffer `index`, which has `bytes` bytes.
    Scratch { index: usize, bytes: u64, start: u32, elements: u32 },
}

/// Builder of fill and copy passes for one op.
pub(crate) struct Fill<'a> {
    pub(crate) op: &'static str,
    pub(crate) caps: &'a Caps,
    pub(crate) args: &'a [Arg],
}

impl<'a> Fill<'a> {
    /// Sets all elements of `to` to 0.
    pub(crate) fn zeros(&self, to: Target) -> Result<Pass> {
        let pass = self.write(PassBuilder::new(self.args, shader("zeros", part!("plan/fill/zeros.wgsl"))), to);
        self.dispatch(pass, to)
    }

    /// Copies a whole argument to a target with the same number of elements.
    pub(crate) fn copy(&self, from: &'static str, to: Target) -> Result<Pass> {
        let pass = PassBuilder::new(self.args, shader("copy", part!("plan/fill/copy.wgsl"))).arg_as("source", from);
        self.dispatch(self.write(pass, to).start("source_start", from, 4), to)
    }

    fn elements(&self, to: Target) -> u32 {
        match to {
            Target::Arg(name) => self.args.iter().find(|arg| arg.name == name).map_or(0, |arg| arg.elements),
            Target::Scratch { elements, .. } => elements,
        }
    }

    fn write(&self, pass: PassBuilder<'a>, to: Target) -> PassBuilder<'a> {
        let elements = self.elements(to);
        match to {
            Target::Arg(name) => pass.arg_as("out", name).u32("elements", elements).start("out_start", name, 4),
            Target::Scratch { index, bytes, start, .. } => {
                pass.scratch("out", index, bytes, Access::Write).u32("elements", elements).u32("out_start", start)
            }
        }
    }

    fn dispatch(&self, pass: PassBuilder<'a>, to: Target) -> Result<Pass> {
        let groups = self.elements(to).div_ceil(GROUP);
        pass.dispatch(self.op, self.caps, self.caps.grid(self.op, groups.into())?)
    }
}

fn shader(name: &'static str, part: Part) -> Shader {
    Shader {
        name,
        parts: vec![part!("plan/parts/each.wgsl"), part],
        consts: vec![("GROUP", Const::U32(GROUP))],
        features: Features::default(),
        workgroup_bytes: 0,
    }
}
