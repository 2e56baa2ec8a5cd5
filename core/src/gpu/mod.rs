//! The executor on a GPU, through wgpu: natively and in browsers alike.
//!
//! Ops are planned when they are first recorded, and the plans of the last ones kept; [`submit`](crate::Backend::submit) encodes all of them into one compute pass of
//! one submission, or each into a pass of its own while they are timed. Pipelines are kept by shader, bind groups by what
//! they bind, scratch by its index in a plan, so that a loop which repeats itself creates nothing.

mod buffer;
mod copy;
mod device;
mod pipeline;
mod readback;
mod record;
mod timing;
mod watch;

pub use buffer::GpuBuffer;
pub use device::{Options, adapters, caps};

use crate::backend::{Backend, Copy, Operand, Stats};
use crate::error::{Error, Result};
use crate::send::MaybeSend;
use foveate_kernels::ceiling::{self, Load};
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Caps, Plan};
use pipeline::Variant;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU, or a driver that plays one.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    name: String,
    caps: Caps,
    software: bool,
    /// Nobody else has the device.
    own: bool,
    /// Reduced capabilities of single ops, which their plans are chosen by.
    narrowed: Mutex<Vec<(&'static str, Caps)>>,
    ledger: Arc<Ledger>,
    pipelines: pipeline::Pipelines,
    recorder: Mutex<record::Recorder>,
    readbacks: Mutex<readback::Pool>,
    /// Errors of calls on a caller's device that the browser has not told yet.
    #[cfg(target_arch = "wasm32")]
    pending: Mutex<Vec<watch::Pending>>,
}

impl Gpu {
    /// Plans one op with reduced capabilities from now on.
    pub(crate) fn narrow(&self, op: &'static str, caps: Caps) {
        let mut narrowed = lock(&self.narrowed);
        narrowed.retain(|(name, _)| *name != op);
        narrowed.push((op, caps));
        drop(narrowed);
        lock(&self.recorder).forget_plans();
    }

    /// Capabilities that the plans of an op are chosen by.
    fn caps_of(&self, op: &str) -> Caps {
        lock(&self.narrowed).iter().find(|(name, _)| *name == op).map_or(self.caps, |(_, caps)| *caps)
    }
}

/// Counters and errors that buffers and device callbacks report.
#[derive(Default)]
struct Ledger {
    stats: Mutex<Stats>,
    failures: Mutex<watch::Failures>,
    /// Why the device is gone.
    lost: Mutex<Option<Error>>,
    /// Buffers that are gone, whose bind groups can go.
    dropped: Mutex<Vec<u64>>,
}

/// A browser frees what a device holds when it is destroyed or, some time, by itself: not when it is let go.
impl Drop for Gpu {
    fn drop(&mut self) {
        if self.own && cfg!(target_arch = "wasm32") {
            self.device.destroy();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    fn downloaded(&self, bytes: u64) {
        let mut stats = lock(&self.stats);
        stats.downloads += 1;
        stats.downloaded_bytes += bytes;
    }
}

impl Gpu {
    /// The device limits and features that plans are chosen by.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// True if the driver runs on the host's processor, even if plans for hardware GPUs are chosen.
    pub fn software(&self) -> bool {
        self.software
    }

    /// The device, for a caller's own work on it.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Returns the queue that ops are submitted to.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Makes a buffer of the caller's, on the same device, an operand; its memory is not counted.
    ///
    /// Beside `STORAGE`, it needs the usage `COPY_DST` to be uploaded or copied to, and `COPY_SRC` to be downloaded or copied
    /// from: those calls refuse it otherwise.
    ///
    /// # Errors
    /// `BufferUsage` for a buffer without `STORAGE`.
    pub fn wrap(&self, buffer: wgpu::Buffer) -> Result<GpuBuffer> {
        let buffer = GpuBuffer::wrap(buffer, &self.ledger);
        buffer.allows("an operand", wgpu::BufferUsages::STORAGE)?;
        Ok(buffer)
    }

    /// Records what the device is measured by, as [`run`](Backend::run) records an op.
    ///
    /// # Errors
    /// As [`run`](Backend::run).
    pub fn run_load(&self, load: &Load, operands: &[Operand<'_, Self>]) -> Result<()> {
        self.healthy()?;
        let plan = load.plan(&self.caps)?;
        self.record(|recorder| recorder.plan(self, ceiling::NAME, load.args(), plan, operands))
    }

    /// Compiles what these ops need, with `progress(done, of)`, and reserves nothing.
    ///
    /// # Errors
    /// Errors of the ops' validation, and earlier errors of the device.
    pub fn compile(&self, ops: &[Op], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        self.pipelines.compile(self, variants(self.plans(ops)?), progress);
        self.healthy()
    }

    /// Records by `add`; if that fails, nothing of it stays.
    fn record(&self, add: impl FnOnce(&mut record::Recorder) -> Result<()>) -> Result<()> {
        self.healthy()?;
        let mut recorder = lock(&self.recorder);
        let mark = recorder.mark();
        let done = self.watched(|| add(&mut recorder));
        if done.is_err() {
            recorder.roll_back(mark);
        }
        done
    }

    /// Submits what is recorded and a copy of these bytes into a staging buffer.
    fn submit_download(&self, buffer: &GpuBuffer, offset: u64, bytes: u64) -> Result<readback::Staged> {
        self.healthy()?;
        buffer.allows("a download", wgpu::BufferUsages::COPY_SRC)?;
        let before = self.ledger.count();
        let buffer = self.watched(|| {
            let staging = lock(&self.readbacks).take(self, bytes)?;
            let copies = buffer.copies(offset, bytes)?;
            lock(&self.recorder).submit(self, |encoder| {
                for copy in copies {
                    encoder.copy_buffer_to_buffer(copy.buffer, copy.offset, &staging, copy.to, Some(copy.bytes));
                }
            });
            Ok(staging)
        })?;
        self.ledger.downloaded(bytes);
        Ok(readback::Staged { buffer, bytes, before })
    }

    fn plans(&self, ops: &[Op]) -> Result<Vec<Plan>> {
        let plan = |op: &Op| {
            op.kernel().validate()?;
            Ok(op.kernel().plan(&self.caps_of(op.name()))?)
        };
        ops.iter().map(plan).collect()
    }

    /// Reports a failure of the device that was not reported yet.
    fn healthy(&self) -> Result<()> {
        self.ledger.check()
    }
}

fn variants(plans: Vec<Plan>) -> Vec<Variant> {
    plans.into_iter().flat_map(|plan| plan.passes).map(Into::into).collect()
}

impl Backend for Gpu {
    type Buffer = GpuBuffer;

    fn describe(&self) -> String {
        self.name.clone()
    }

    fn alloc(&self, label: &'static str, bytes: u64) -> Result<GpuBuffer> {
        self.watched(|| GpuBuffer::new(&self.device, &self.caps, &self.ledger, label, bytes, bytes))
    }

    fn alloc_rows(&self, label: &'static str, rows: u64, row_bytes: u64) -> Result<GpuBuffer> {
        let bytes = rows.checked_mul(row_bytes).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        let piece = match bytes <= self.caps.binding_bytes.min(self.caps.buffer_bytes) {
            true => bytes,
            false => u64::from(self.caps.rows_per_binding("tensor", row_bytes)?) * row_bytes,
        };
        self.watched(|| GpuBuffer::new(&self.device, &self.caps, &self.ledger, label, bytes, piece))
    }

    fn upload(&self, buffer: &GpuBuffer, offset: u64, data: &[u8]) -> Result<()> {
        // What is recorded must still see the old contents.
        if lock(&self.recorder).is_pending() {
            self.submit()?;
        }
        buffer.allows("an upload", wgpu::BufferUsages::COPY_DST)?;
        self.watched(|| {
            buffer.write(&self.queue, offset, data)?;
            lock(&self.ledger.stats).uploaded_bytes += data.len() as u64;
            // Staging memory is returned when the queue moves on.
            if lock(&self.recorder).staged(data.len() as u64) {
                self.queue.submit([]);
                device::wait(&self.device)?;
            }
            Ok(())
        })
    }

    fn copy(&self, copies: &[Copy<'_, Self>]) -> Result<()> {
        self.healthy()?;
        for copy in copies {
            copy.from.buffer.allows("the source of a copy", wgpu::BufferUsages::COPY_SRC)?;
            copy.to.buffer.allows("the target of a copy", wgpu::BufferUsages::COPY_DST)?;
        }
        self.watched(|| lock(&self.recorder).copy(self, copies))
    }

    fn run_positional(&self, op: &Op, operands: &[Operand<'_, Self>]) -> Result<()> {
        self.record(|recorder| recorder.record(self, op, operands))
    }

    fn submit(&self) -> Result<()> {
        self.watched(|| {
            lock(&self.recorder).submit(self, |_| {});
            Ok(())
        })
    }

    fn download(
        &self,
        buffer: &GpuBuffer,
        offset: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + MaybeSend {
        let submitted = self.submit_download(buffer, offset, bytes);
        async move {
            let staged = submitted?;
            let data = readback::read(self, &staged).await?;
            lock(&self.readbacks).put(staged.buffer);
            Ok(data)
        }
    }

    fn prepare(&self, ops: &[Op], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        let plans = self.plans(ops)?;
        for plan in &plans {
            lock(&self.recorder).reserve(self, &plan.scratch)?;
        }
        self.pipelines.compile(self, variants(plans), progress);
        self.healthy()
    }

    fn stats(&self) -> Stats {
        *lock(&self.ledger.stats)
    }
}
