//! The executor interface: memory, a queue of recorded ops, and downloads.

use crate::error::Result;
use crate::send::{MaybeSend, MaybeSync};
use crate::weights::SharedBytes;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Arg, missing, order};
use std::future::Future;
use std::ops::Range;

/// An argument of an op: a buffer from `offset` bytes on.
pub struct Operand<'a, B: Backend> {
    /// The memory.
    pub buffer: &'a B::Buffer,
    /// Bytes in front of the argument.
    pub offset: u64,
}

impl<B: Backend> Clone for Operand<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> std::marker::Copy for Operand<'_, B> {}

impl<'a, B: Backend> Operand<'a, B> {
    /// The whole buffer as the argument `name`.
    pub fn named(name: &'a str, buffer: &'a B::Buffer) -> Named<'a, B> {
        Self::new(buffer).name(name)
    }

    /// This operand as the argument `name`.
    pub fn name(self, name: &'a str) -> Named<'a, B> {
        Named { name, operand: self }
    }

    /// The whole buffer.
    pub fn new(buffer: &'a B::Buffer) -> Self {
        Self { buffer, offset: 0 }
    }

    /// The buffer from `offset` bytes on, a multiple of 4 (of 16 where the op's rows are multiples of 4 elements).
    pub fn at(buffer: &'a B::Buffer, offset: u64) -> Self {
        Self { buffer, offset }
    }
}

/// An operand and the name of the argument that it is for.
pub struct Named<'a, B: Backend> {
    /// The argument's name, as in the op's table of arguments.
    pub name: &'a str,
    /// The buffer that holds the argument, from the operand's offset on.
    pub operand: Operand<'a, B>,
}

/// The operands in the order of the op's arguments.
fn ordered<'a, B: Backend>(op: &Op, operands: &[Named<'a, B>]) -> Result<Vec<Operand<'a, B>>> {
    op.kernel().validate()?;
    let args = op.kernel().args();
    let names: Vec<&str> = operands.iter().map(|named| named.name).collect();
    let places = order(op.name(), &args, &names)?;
    let operand = |(arg, place): (&Arg, Option<usize>)| match place {
        Some(place) => Ok(operands[place].operand),
        None => Err(missing(op.name(), &args, arg.name).into()),
    };
    args.iter().zip(places).map(operand).collect()
}

/// Bytes that go from one buffer to another, or to another place in the same.
pub struct Copy<'a, B: Backend> {
    /// The source.
    pub from: Operand<'a, B>,
    /// The destination.
    pub to: Operand<'a, B>,
    /// Number of bytes to copy.
    pub bytes: u64,
}

/// Counters of an executor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes allocated now. Mapped files count for nothing.
    pub bytes: u64,
    /// The most bytes that were ever allocated at once. Mapped files count for nothing.
    pub peak_bytes: u64,
    /// Buffers ever created, of any kind.
    pub buffers: u64,
    /// Submissions to the device.
    pub submissions: u64,
    /// Dispatches of ops' passes.
    pub dispatches: u64,
    /// Bytes that were uploaded; the parameters of dispatches, 256 bytes each on a GPU, are not among them.
    pub uploaded_bytes: u64,
    /// Transfers back to the host.
    pub downloads: u64,
    /// Bytes of the transfers back to the host.
    pub downloaded_bytes: u64,
}

/// An executor. Ops are recorded by [`run`](Backend::run) and take effect in that order; what they wrote can be read after
/// [`submit`](Backend::submit), by [`download`](Backend::download), which submits.
pub trait Backend: MaybeSend + MaybeSync {
    /// A handle: cloning it is cheap and shares the memory.
    type Buffer: Clone + MaybeSend + MaybeSync;

    /// One line that names executor and device.
    fn describe(&self) -> String;

    /// A buffer of `bytes` bytes, holding zeros.
    ///
    /// # Errors
    /// `OutOfMemory`, and whatever went wrong on the device before.
    fn alloc(&self, label: &'static str, bytes: u64) -> Result<Self::Buffer>;

    /// A buffer for `rows` rows that ops may cut between rows, where one binding can't span it.
    fn alloc_rows(&self, label: &'static str, rows: u64, row_bytes: u64) -> Result<Self::Buffer> {
        let bytes = rows.checked_mul(row_bytes).ok_or(crate::Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        self.alloc(label, bytes)
    }

    /// A buffer over bytes that already lie in the host's memory, if this executor can use them in place.
    fn adopt(&self, _bytes: &SharedBytes, _range: Range<usize>) -> Option<Self::Buffer> {
        None
    }

    /// Copies `data` into the buffer. Offset and length are multiples of 4, but for the end of the buffer. Ops recorded
    /// before see the old contents, ops recorded after the new.
    fn upload(&self, buffer: &Self::Buffer, offset: u64, data: &[u8]) -> Result<()>;

    /// Copies within the device's memory, behind everything recorded so far. Offsets and lengths are multiples of 4; no
    /// copy writes what another one of the call reads or writes.
    ///
    /// # Errors
    /// `Device` for a range outside of its buffer; then nothing is copied.
    fn copy(&self, copies: &[Copy<'_, Self>]) -> Result<()>
    where
        Self: Sized;

    /// Records an op over named operands, in any order; [`operands!`](crate::operands) makes them. One that is written may
    /// not share its buffer with another.
    ///
    /// # Errors
    /// A spec or an operand that does not fit, and a name that is unknown, missing or given twice; then nothing is recorded.
    fn run(&self, op: &Op, operands: &[Named<'_, Self>]) -> Result<()>
    where
        Self: Sized,
    {
        self.run_positional(op, &ordered(op, operands)?)
    }

    /// Records an op over operands in the order of its arguments: what executors implement, and what a decoder calls
    /// many times a token. Two operands of one size that change places give wrong results, not an error: other callers
    /// take [`run`](Backend::run).
    ///
    /// # Errors
    /// A spec or an operand that does not fit; then nothing is recorded.
    fn run_positional(&self, op: &Op, operands: &[Operand<'_, Self>]) -> Result<()>
    where
        Self: Sized;

    /// Hands everything recorded to the device.
    fn submit(&self) -> Result<()>;

    /// Submits, then waits for `bytes` bytes from `offset` on. Offset and length are multiples of 4.
    ///
    /// The call itself submits; the future only waits. So whoever holds a lock around recording can let it go between both.
    /// Natively waiting blocks the thread that polls until a GPU is done.
    fn download(
        &self,
        buffer: &Self::Buffer,
        offset: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + MaybeSend;

    /// Compiles what these ops need and reserves their scratch, with `progress(done, of)`.
    fn prepare(&self, _ops: &[Op], _progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        Ok(())
    }

    /// Returns the counters.
    fn stats(&self) -> Stats;
}
