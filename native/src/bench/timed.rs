//! An executor that notes how long each op takes.

use super::loaded::Clock;
use crate::error::Result;
use foveate_core::any::AnyBuffer;
use foveate_core::backend::Copy;
use foveate_core::kernels::op::Op;
use foveate_core::weights::SharedBytes;
use foveate_core::{Any, Backend, Operand, Stats};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// `Any`, and a log of what ran while [`start`](Timed::start) was the last word.
///
/// The host runs an op when it is recorded, so the clock around that is its time. A device with timestamps writes them; on
/// one without, every op is submitted alone and waited for, and its time includes that.
pub(super) struct Timed {
    device: Any,
    clock: Clock,
    fence: AnyBuffer,
    /// Ops with their seconds, which timestamps bring later; `None` at rest.
    log: Mutex<Option<Vec<(Op, f64)>>>,
}

impl Timed {
    pub(super) fn new(device: Any) -> Result<Self> {
        let (clock, fence) = (Clock::of(&device), device.alloc("fence", 4)?);
        Ok(Self { device, clock, fence, log: Mutex::new(None) })
    }

    pub(super) fn device(&self) -> &Any {
        &self.device
    }

    fn log(&self) -> MutexGuard<'_, Option<Vec<(Op, f64)>>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self) -> Result<()> {
        if let (Clock::Timestamps, Any::Gpu(gpu)) = (self.clock, &self.device) {
            gpu.set_timing(true)?;
        }
        *self.log() = Some(Vec::new());
        Ok(())
    }

    /// Every op since [`start`](Timed::start), with its seconds.
    pub(super) fn stop(&self) -> Result<Vec<(Op, f64)>> {
        let mut ops = self.log().take().unwrap_or_default();
        if let (Clock::Timestamps, Any::Gpu(gpu)) = (self.clock, &self.device) {
            let times = crate::wait(gpu.timings())?;
            gpu.set_timing(false)?;
            ops.iter_mut().zip(times).for_each(|((_, seconds), time)| *seconds = time);
        }
        Ok(ops)
    }

    fn finish(&self) -> foveate_core::Result<()> {
        crate::wait(self.device.download(&self.fence, 0, 4)).map(|_| ())
    }
}

impl Backend for Timed {
    type Buffer = AnyBuffer;

    fn describe(&self) -> String {
        self.device.describe()
    }

    fn alloc(&self, label: &'static str, bytes: u64) -> foveate_core::Result<AnyBuffer> {
        self.device.alloc(label, bytes)
    }

    fn alloc_rows(&self, label: &'static str, rows: u64, row_bytes: u64) -> foveate_core::Result<AnyBuffer> {
        self.device.alloc_rows(label, rows, row_bytes)
    }

    fn adopt(&self, bytes: &SharedBytes, range: std::ops::Range<usize>) -> Option<AnyBuffer> {
        self.device.adopt(bytes, range)
    }

    fn upload(&self, buffer: &AnyBuffer, offset: u64, data: &[u8]) -> foveate_core::Result<()> {
        self.device.upload(buffer, offset, data)
    }

    fn copy(&self, copies: &[Copy<'_, Self>]) -> foveate_core::Result<()> {
        let copies = copies.iter().map(|c| Copy {
            from: Operand::at(c.from.buffer, c.from.offset),
            to: Operand::at(c.to.buffer, c.to.offset),
            bytes: c.bytes,
        });
        self.device.copy(&copies.collect::<Vec<_>>())
    }

    fn run(&self, op: &Op, operands: &[Operand<'_, Self>]) -> foveate_core::Result<()> {
        let operands: Vec<Operand<'_, Any>> = operands.iter().map(|o| Operand::at(o.buffer, o.offset)).collect();
        let mut log = self.log();
        let Some(log) = log.as_mut() else { return self.device.run(op, &operands) };
        if self.clock == Clock::Submissions {
            self.finish()?;
        }
        let started = Instant::now();
        self.device.run(op, &operands)?;
        if self.clock == Clock::Submissions {
            self.finish()?;
        }
        log.push((op.clone(), started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn submit(&self) -> foveate_core::Result<()> {
        self.device.submit()
    }

    async fn download(&self, buffer: &AnyBuffer, offset: u64, bytes: u64) -> foveate_core::Result<Vec<u8>> {
        self.device.download(buffer, offset, bytes).await
    }

    fn prepare(&self, ops: &[Op], progress: &mut dyn FnMut(usize, usize)) -> foveate_core::Result<()> {
        self.device.prepare(ops, progress)
    }

    fn stats(&self) -> Stats {
        self.device.stats()
    }
}
