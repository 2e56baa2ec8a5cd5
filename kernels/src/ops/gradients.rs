//! Arguments and random inputs shared by the ops that compute gradients of another op.

use crate::cpu::{Args, SingleThread, View};
use crate::draw::draws;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::Kernel;
use crate::plan::{Access, Arg};
use crate::rng::Rng;
use alloc::{string::String, vec::Vec};

/// Returns the arguments of `forward` that its gradients read: its inputs and, with `outputs`, its outputs.
fn kept(forward: &dyn Kernel, outputs: bool) -> Vec<Arg> {
    let args = forward.args().into_iter().filter(|arg| outputs || arg.access == Access::Read);
    args.map(|arg| Arg { access: Access::Read, ..arg }).collect()
}

/// Returns the arguments of a gradient op. They begin with those that `forward` keeps. For each pair `(x, dx)` whose
/// `x` is an argument of `forward`, `dx` follows with the shape of `x`. A `dx` is read if `forward` writes `x`, and
/// written if `forward` reads it.
pub(crate) fn args(forward: &dyn Kernel, outputs: bool, by: &[(&str, &'static str)]) -> Vec<Arg> {
    let all = forward.args();
    let mut args = kept(forward, outputs);
    for (of, name) in by {
        if let Some(arg) = all.iter().find(|arg| arg.name == *of) {
            let access = if arg.access.writes() { Access::Read } else { Access::Write };
            args.push(Arg::new(name, DType::F32, &arg.shape, access));
        }
    }
    args
}

/// Draws the inputs of `op`: the arguments kept from a run of `forward`, and random values for the rest.
pub(crate) fn inputs(op: &dyn Kernel, forward: &dyn Kernel, outputs: bool, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut inputs = if outputs { ran(forward, rng) } else { forward.inputs(rng) };
    inputs.truncate(kept(forward, outputs).len());
    inputs.extend(draws(&op.args()[inputs.len()..], rng));
    inputs
}

/// Rejects a pool: its states are overwritten by the time the gradients are computed.
pub(crate) fn without_pool(op: &'static str, pool: Option<u32>) -> Result<()> {
    match pool {
        Some(_) => Err(Error::Unsupported { op, what: String::from("a gradient of a pool of states") }),
        None => Ok(()),
    }
}

/// Runs an op on its own inputs and returns all of its arguments, which its gradients read.
fn ran(op: &dyn Kernel, rng: &mut Rng) -> Vec<Vec<u8>> {
    let args = op.args();
    let words = |bytes: &Vec<u8>| bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    let mut memory: Vec<Vec<u32>> = op.inputs(rng).iter().map(words).collect();
    let views = memory.iter_mut().zip(&args).map(|(words, arg)| match arg.access {
        Access::Read => View::In(bytemuck::cast_slice(words)),
        _ => View::Out(bytemuck::cast_slice_mut(words)),
    });
    op.cpu(&SingleThread, &mut Args::new(&args, views.collect()));
    memory.iter().map(|words| bytemuck::cast_slice(words).to_vec()).collect()
}
