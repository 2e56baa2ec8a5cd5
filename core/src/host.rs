//! The executors on the host's processor: the definitions, and the fast forms.

use crate::backend::{Backend, Copy, Operand, Stats};
use crate::error::{Error, Result};
use crate::send::MaybeSend;
use crate::weights::SharedBytes;
use foveate_kernels::cpu::{Args, Host, View};
use foveate_kernels::ops::Op;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The host form that runs an op.
enum Form {
    Reference,
    Fast(crate::cpu::Cpu),
    /// None: what a model asks for is looked at, and has no memory.
    None,
}

/// Memory and ops of the host.
pub struct HostBackend {
    form: Form,
    stats: Arc<Mutex<Stats>>,
    limit: u64,
}

/// Memory of the host: its own, or a part of something mapped.
#[derive(Clone)]
pub struct HostBuffer(Arc<Memory>);

enum Memory {
    /// Words, so that every view is aligned to 4 bytes.
    Owned {
        words: RwLock<Vec<u32>>,
        bytes: u64,
        stats: Arc<Mutex<Stats>>,
    },
    Mapped {
        bytes: SharedBytes,
        range: Range<usize>,
    },
}

fn lock(stats: &Mutex<Stats>) -> MutexGuard<'_, Stats> {
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Memory::Owned { bytes, stats, .. } = self {
            lock(stats).bytes -= *bytes;
        }
    }
}

impl HostBuffer {
    /// Bytes of the buffer.
    pub fn len(&self) -> u64 {
        match &*self.0 {
            Memory::Owned { bytes, .. } => *bytes,
            Memory::Mapped { range, .. } => range.len() as u64,
        }
    }

    /// Returns whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses what leaves the buffer or does not begin at a word.
    fn range(&self, offset: u64, bytes: u64) -> Result<()> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.len() && offset.is_multiple_of(4) => Ok(()),
            _ => Err(Error::device(format!("{bytes} bytes at {offset} of a buffer of {}", self.len()))),
        }
    }

    fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        match &*self.0 {
            Memory::Owned { words, .. } => {
                let words = words.read().unwrap_or_else(PoisonError::into_inner);
                bytemuck::cast_slice::<u32, u8>(&words)[range].to_vec()
            }
            Memory::Mapped { bytes, range: whole } => (**bytes).as_ref()[whole.clone()][range].to_vec(),
        }
    }
}

impl HostBackend {
    /// Runs the definitions: slow, and what everything else is measured against.
    pub fn reference() -> Self {
        Self::new(Form::Reference)
    }

    /// Runs the fast forms on `threads` threads; 0 takes one for each core. Where the processor multiplies bytes or
    /// tiles, products round; see [`exact_cpu`](Self::exact_cpu).
    pub fn cpu(threads: usize) -> Self {
        Self::new(Form::Fast(crate::cpu::Cpu::new(std::num::NonZeroUsize::new(threads))))
    }

    /// As [`cpu`](Self::cpu), but all products are those of f32: what checks run.
    pub fn exact_cpu(threads: usize) -> Self {
        Self::new(Form::Fast(crate::cpu::Cpu::new(std::num::NonZeroUsize::new(threads)).exact()))
    }

    /// As [`cpu`](Self::cpu), with activations of 8 bits beside quantised weights instead of 16, as llama.cpp has them:
    /// prompts are read faster on some processors, and other tokens may be chosen. See
    /// [`Bytes::coarse`](crate::kernels::cpu::Bytes::coarse).
    pub fn fast_cpu(threads: usize) -> Self {
        Self::new(Form::Fast(crate::cpu::Cpu::new(std::num::NonZeroUsize::new(threads)).coarse()))
    }

    /// Runs nothing and holds nothing, whatever is asked of it.
    pub(crate) fn outline() -> Self {
        Self { limit: u64::MAX, ..Self::new(Form::None) }
    }

    /// The threads that fast forms run on; the definitions use none.
    pub fn threads(&self) -> Option<&crate::cpu::Cpu> {
        match &self.form {
            Form::Fast(cpu) => Some(cpu),
            Form::Reference | Form::None => None,
        }
    }

    fn new(form: Form) -> Self {
        // A wasm address space ends at 4 GiB; elsewhere the system decides.
        let limit = if cfg!(target_pointer_width = "32") { 3 << 30 } else { 1 << 46 };
        Self { form, stats: Arc::default(), limit }
    }
}

impl Backend for HostBackend {
    type Buffer = HostBuffer;

    fn describe(&self) -> String {
        match &self.form {
            Form::Reference => "reference".into(),
            Form::None => "nothing".into(),
            Form::Fast(cpu) => {
                let products = match cpu.bytes() {
                    Some(bytes) if bytes == bytes.coarse() => ", 8-bit activations",
                    None if cpu.tiles().is_none() => ", exact",
                    _ => "",
                };
                match cpu.threads() {
                    1 => format!("cpu, 1 thread{products}"),
                    n => format!("cpu, {n} threads{products}"),
                }
            }
        }
    }

    fn alloc(&self, _label: &'static str, bytes: u64) -> Result<HostBuffer> {
        let refuse = || Error::OutOfMemory { needs: bytes, has: self.limit.saturating_sub(lock(&self.stats).bytes) };
        let words = usize::try_from(bytes.div_ceil(4)).map_err(|_| refuse())?;
        if lock(&self.stats).bytes.saturating_add(bytes) > self.limit {
            return Err(refuse());
        }
        let mut data = Vec::new();
        if !matches!(self.form, Form::None) {
            data.try_reserve_exact(words).map_err(|_| refuse())?;
            data.resize(words, 0);
        }
        let mut stats = lock(&self.stats);
        stats.bytes += bytes;
        stats.peak_bytes = stats.peak_bytes.max(stats.bytes);
        stats.buffers += 1;
        let stats = self.stats.clone();
        Ok(HostBuffer(Arc::new(Memory::Owned { words: RwLock::new(data), bytes, stats })))
    }

    fn adopt(&self, bytes: &SharedBytes, range: Range<usize>) -> Option<HostBuffer> {
        let data = (**bytes).as_ref().get(range.clone())?;
        let aligned = data.as_ptr().align_offset(4) == 0;
        aligned.then(|| HostBuffer(Arc::new(Memory::Mapped { bytes: bytes.clone(), range })))
    }

    fn upload(&self, buffer: &HostBuffer, offset: u64, data: &[u8]) -> Result<()> {
        let Memory::Owned { words, bytes, .. } = &*buffer.0 else {
            return Err(Error::device("mapped memory is read-only"));
        };
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > *bytes) {
            return Err(Error::device(format!("an upload of {} bytes at {offset} into {bytes}", data.len())));
        }
        if !matches!(self.form, Form::None) {
            let mut words = words.write().unwrap_or_else(PoisonError::into_inner);
            bytemuck::cast_slice_mut::<u32, u8>(&mut words)[offset as usize..][..data.len()].copy_from_slice(data);
        }
        lock(&self.stats).uploaded_bytes += data.len() as u64;
        Ok(())
    }

    fn copy(&self, copies: &[Copy<'_, Self>]) -> Result<()> {
        for copy in copies {
            for place in [&copy.from, &copy.to] {
                place.buffer.range(place.offset, copy.bytes)?;
            }
            if matches!(&*copy.to.buffer.0, Memory::Mapped { .. }) {
                return Err(Error::device("mapped memory is read-only"));
            }
        }
        for copy in copies {
            let range = copy.from.offset as usize..(copy.from.offset + copy.bytes) as usize;
            let Memory::Owned { words, .. } = &*copy.to.buffer.0 else { continue };
            if Arc::ptr_eq(&copy.from.buffer.0, &copy.to.buffer.0) {
                let mut words = words.write().unwrap_or_else(PoisonError::into_inner);
                bytemuck::cast_slice_mut::<u32, u8>(&mut words).copy_within(range, copy.to.offset as usize);
                continue;
            }
            let bytes = copy.from.buffer.bytes(range);
            let mut words = words.write().unwrap_or_else(PoisonError::into_inner);
            bytemuck::cast_slice_mut::<u32, u8>(&mut words)[copy.to.offset as usize..][..bytes.len()]
                .copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn run_positional(&self, op: &Op, operands: &[Operand<'_, Self>]) -> Result<()> {
        let lengths: Vec<u64> = operands.iter().map(|o| o.buffer.len().saturating_sub(o.offset)).collect();
        let args = op.check(&lengths)?;
        for (i, (arg, operand)) in args.iter().zip(operands).enumerate() {
            let shares = |j: usize| j != i && Arc::ptr_eq(&operands[j].buffer.0, &operand.buffer.0);
            if arg.access.writes() && (0..operands.len()).any(shares) {
                return Err(Error::device(format!(
                    "{}: {} shares its buffer with another argument",
                    op.name(),
                    arg.name
                )));
            }
            if operand.offset % 4 != 0 {
                return Err(Error::device(format!(
                    "{}: {} at {}, no multiple of 4",
                    op.name(),
                    arg.name,
                    operand.offset
                )));
            }
            if arg.access.writes() && matches!(&*operand.buffer.0, Memory::Mapped { .. }) {
                return Err(Error::device(format!("{}: {} is mapped memory, which is read-only", op.name(), arg.name)));
            }
        }
        if matches!(self.form, Form::None) {
            return Ok(());
        }
        enum Guard<'a> {
            Read(std::sync::RwLockReadGuard<'a, Vec<u32>>),
            Write(std::sync::RwLockWriteGuard<'a, Vec<u32>>),
            Mapped(&'a [u8]),
        }
        let mut guards: Vec<Guard<'_>> = args
            .iter()
            .zip(operands)
            .map(|(arg, operand)| match &*operand.buffer.0 {
                Memory::Owned { words, .. } if arg.access.writes() => {
                    Guard::Write(words.write().unwrap_or_else(PoisonError::into_inner))
                }
                Memory::Owned { words, .. } => Guard::Read(words.read().unwrap_or_else(PoisonError::into_inner)),
                Memory::Mapped { bytes, range } => Guard::Mapped(&(**bytes).as_ref()[range.clone()]),
            })
            .collect();
        let views = guards
            .iter_mut()
            .zip(operands)
            .map(|(guard, operand)| {
                let offset = operand.offset as usize;
                match guard {
                    Guard::Read(words) => View::In(&bytemuck::cast_slice(words)[offset..]),
                    Guard::Write(words) => View::Out(&mut bytemuck::cast_slice_mut(words)[offset..]),
                    Guard::Mapped(bytes) => View::In(&bytes[offset..]),
                }
            })
            .collect();
        let mut views = Args::new(&args, views);
        match &self.form {
            Form::Reference => op.kernel().reference(&mut views),
            Form::Fast(cpu) => op.kernel().cpu(cpu, &mut views),
            Form::None => {}
        }
        lock(&self.stats).dispatches += 1;
        Ok(())
    }

    fn submit(&self) -> Result<()> {
        lock(&self.stats).submissions += 1;
        Ok(())
    }

    fn download(
        &self,
        buffer: &HostBuffer,
        offset: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + MaybeSend {
        let end = offset.checked_add(bytes).filter(|end| *end <= buffer.len());
        let copied = self.submit().and_then(|()| {
            let Some(end) = end else {
                return Err(Error::device(format!("a download of {bytes} bytes at {offset} from {}", buffer.len())));
            };
            let mut stats = lock(&self.stats);
            stats.downloads += 1;
            stats.downloaded_bytes += bytes;
            drop(stats);
            Ok(buffer.bytes(offset as usize..end as usize))
        });
        std::future::ready(copied)
    }

    fn stats(&self) -> Stats {
        *lock(&self.stats)
    }
}
