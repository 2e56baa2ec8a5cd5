//! An executor chosen at run time.

use crate::backend::{Backend, Copy, Operand, Stats};
#[cfg(feature = "gpu")]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::gpu::{Gpu, GpuBuffer};
use crate::host::{HostBackend, HostBuffer};
use crate::send::MaybeSend;
use crate::weights::SharedBytes;
use foveate_kernels::ops::Op;
use std::future::Future;
use std::ops::Range;

/// Any of the executors, so that a program needs its models only once.
// A program has one or two of these.
#[allow(clippy::large_enum_variant)]
pub enum Any {
    /// The processor.
    Host(HostBackend),
    /// A GPU.
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
}

/// Memory of an [`Any`].
#[derive(Clone)]
pub enum AnyBuffer {
    /// Memory of the processor.
    Host(HostBuffer),
    /// Memory of a GPU.
    #[cfg(feature = "gpu")]
    Gpu(GpuBuffer),
}

/// A download that was submitted on one of them.
enum Submitted<H, #[cfg(feature = "gpu")] G> {
    Host(Result<H>),
    #[cfg(feature = "gpu")]
    Gpu(Result<G>),
}

macro_rules! each {
    ($self:expr, $backend:ident => $body:expr) => {
        match $self {
            Any::Host($backend) => $body,
            #[cfg(feature = "gpu")]
            Any::Gpu($backend) => $body,
        }
    };
}

#[cfg(feature = "gpu")]
fn foreign() -> Error {
    Error::device("a buffer of another executor")
}

fn on_host<'a>(operand: &Operand<'a, Any>) -> Result<Operand<'a, HostBackend>> {
    Ok(Operand::at(operand.buffer.host()?, operand.offset))
}

#[cfg(feature = "gpu")]
fn on_gpu<'a>(operand: &Operand<'a, Any>) -> Result<Operand<'a, Gpu>> {
    Ok(Operand::at(operand.buffer.gpu()?, operand.offset))
}

impl AnyBuffer {
    fn host(&self) -> Result<&HostBuffer> {
        match self {
            AnyBuffer::Host(buffer) => Ok(buffer),
            #[cfg(feature = "gpu")]
            AnyBuffer::Gpu(_) => Err(foreign()),
        }
    }

    #[cfg(feature = "gpu")]
    fn gpu(&self) -> Result<&GpuBuffer> {
        match self {
            AnyBuffer::Gpu(buffer) => Ok(buffer),
            AnyBuffer::Host(_) => Err(foreign()),
        }
    }
}

impl Backend for Any {
    type Buffer = AnyBuffer;

    fn describe(&self) -> String {
        each!(self, b => b.describe())
    }

    fn alloc(&self, label: &'static str, bytes: u64) -> Result<AnyBuffer> {
        match self {
            Any::Host(b) => b.alloc(label, bytes).map(AnyBuffer::Host),
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => b.alloc(label, bytes).map(AnyBuffer::Gpu),
        }
    }

    fn alloc_rows(&self, label: &'static str, rows: u64, row_bytes: u64) -> Result<AnyBuffer> {
        match self {
            Any::Host(b) => b.alloc_rows(label, rows, row_bytes).map(AnyBuffer::Host),
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => b.alloc_rows(label, rows, row_bytes).map(AnyBuffer::Gpu),
        }
    }

    fn adopt(&self, bytes: &SharedBytes, range: Range<usize>) -> Option<AnyBuffer> {
        match self {
            Any::Host(b) => b.adopt(bytes, range).map(AnyBuffer::Host),
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => b.adopt(bytes, range).map(AnyBuffer::Gpu),
        }
    }

    fn upload(&self, buffer: &AnyBuffer, offset: u64, data: &[u8]) -> Result<()> {
        match self {
            Any::Host(b) => b.upload(buffer.host()?, offset, data),
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => b.upload(buffer.gpu()?, offset, data),
        }
    }

    fn copy(&self, copies: &[Copy<'_, Self>]) -> Result<()> {
        match self {
            Any::Host(b) => {
                let own =
                    copies.iter().map(|c| Ok(Copy { from: on_host(&c.from)?, to: on_host(&c.to)?, bytes: c.bytes }));
                b.copy(&own.collect::<Result<Vec<_>>>()?)
            }
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => {
                let own =
                    copies.iter().map(|c| Ok(Copy { from: on_gpu(&c.from)?, to: on_gpu(&c.to)?, bytes: c.bytes }));
                b.copy(&own.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    fn run_positional(&self, op: &Op, operands: &[Operand<'_, Self>]) -> Result<()> {
        match self {
            Any::Host(b) => {
                let own = operands.iter().map(on_host);
                b.run_positional(op, &own.collect::<Result<Vec<_>>>()?)
            }
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => {
                let own = operands.iter().map(on_gpu);
                b.run_positional(op, &own.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    fn submit(&self) -> Result<()> {
        each!(self, b => b.submit())
    }

    fn download(
        &self,
        buffer: &AnyBuffer,
        offset: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + MaybeSend {
        let submitted = match self {
            Any::Host(b) => Submitted::Host(buffer.host().map(|buffer| b.download(buffer, offset, bytes))),
            #[cfg(feature = "gpu")]
            Any::Gpu(b) => Submitted::Gpu(buffer.gpu().map(|buffer| b.download(buffer, offset, bytes))),
        };
        async move {
            match submitted {
                Submitted::Host(download) => download?.await,
                #[cfg(feature = "gpu")]
                Submitted::Gpu(download) => download?.await,
            }
        }
    }

    fn prepare(&self, ops: &[Op], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        each!(self, b => b.prepare(ops, progress))
    }

    fn stats(&self) -> Stats {
        each!(self, b => b.stats())
    }
}
