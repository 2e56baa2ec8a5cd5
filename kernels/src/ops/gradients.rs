//! What ops that differentiate another have in common: their arguments, and what every check draws for them.

use crate::cpu::{Args, SingleThread, View};
use crate::draw::draws;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::Kernel;
use crate::plan::{Access, Arg};
use crate::rng::Rng;
use alloc::{string::String, vec::Vec};

/// The arguments of `forward` that the gradients read: its inputs, and with `outputs` what it left.
fn kept(forward: &dyn Kernel, outputs: bool) -> Vec<Arg> {
    let args = forward.args().into_iter().filter(|arg| outputs || arg.access == Access::Read);
    args.map(|arg| Arg { access: Access::Read, ..arg }).collect()
}

/// What is kept of `forward`, and for each pair `(x, dx)` whose `x` it has an argument shaped alike: read where `forward`
/// writes `x`, written where it reads it.
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

/// What every check draws for `op`: what is kept of a run of `forward`, and draws of the rest.
pub(crate) fn inputs(op: &dyn Kernel, forward: &dyn Kernel, outputs: bool, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut inputs = if outputs { ran(forward, rng) } else { forward.inputs(rng) };
    inputs.truncate(kept(forward, outputs).len());
    inputs.extend(draws(&op.args()[inputs.len()..], rng));
    inputs
}

/// States of a pool are gone when their gradients are asked for.
pub(crate) fn without_pool(op: &'static str, pool: Option<u32>) -> Result<()> {
    match pool {
        Some(_) => Err(Error::Unsupported { op, what: String::from("a gradient of a pool of states") }),
        None => Ok(()),
    }
}

/// The arguments of an op after it ran on its own inputs: what its gradients read.
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
