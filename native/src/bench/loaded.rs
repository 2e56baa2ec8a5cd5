//! Taking the time of an op.

use super::statistics::{Effort, Spread};
use crate::error::Result;
use foveate_core::any::AnyBuffer;
use foveate_core::gpu::Gpu;
use foveate_core::kernels::ops::Op;
use foveate_core::kernels::rng::Rng;
use foveate_core::{Any, Backend, Operand, load_args};
use serde::Serialize;
use std::time::Instant;

/// The clock of a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The host's clock around work on the host.
    Host,
    /// The device's own timestamps around each op.
    Timestamps,
    /// The host's clock around submissions to a device that has no timestamps.
    Submissions,
}

impl Clock {
    /// Returns the clock that measures ops on this device.
    pub fn of(device: &Any) -> Self {
        match device {
            Any::Host(_) => Clock::Host,
            Any::Gpu(gpu) if gpu.has_timestamps() => Clock::Timestamps,
            Any::Gpu(_) => Clock::Submissions,
        }
    }

    /// Returns the name of the clock for a report.
    pub fn describe(self) -> &'static str {
        match self {
            Clock::Host => "the host's clock",
            Clock::Timestamps => "the device's timestamps",
            Clock::Submissions => "the host's clock around submissions, as the device has no timestamps",
        }
    }
}

/// Seconds that a sample takes at least: shorter work is repeated.
const SAMPLE: f64 = 1e-3;

/// Samples of `record` on `device`: the seconds of one run each. `wait` ends when all that was recorded is done.
pub(super) fn samples(
    device: &Any,
    effort: Effort,
    record: impl Fn() -> Result<()>,
    wait: impl Fn() -> Result<()>,
) -> Result<Spread> {
    let many = |times: u64| (0..times).try_for_each(|_| record());
    // A run before, so that this one finds everything compiled and allocated.
    record()?;
    wait()?;
    let started = Instant::now();
    record()?;
    wait()?;
    let times = (SAMPLE / started.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e5) as u64;
    match (Clock::of(device), device) {
        (Clock::Timestamps, Any::Gpu(gpu)) => {
            let times = times.min(64);
            effort.repeat(|| timestamps(gpu, || many(times)))
        }
        _ => effort.repeat(|| {
            let started = Instant::now();
            many(times)?;
            wait()?;
            Ok(vec![started.elapsed().as_secs_f64() / times as f64])
        }),
    }
}

fn timestamps(gpu: &Gpu, run: impl FnOnce() -> Result<()>) -> Result<Vec<f64>> {
    gpu.set_timing(true)?;
    let ran = run();
    let times = crate::wait(gpu.timings());
    gpu.set_timing(false)?;
    ran?;
    Ok(times?)
}

/// An op with its operands in an executor's memory.
pub struct Loaded<'a> {
    device: &'a Any,
    op: Op,
    buffers: Vec<AnyBuffer>,
    /// A small buffer, downloaded to wait for the device.
    fence: AnyBuffer,
}

impl<'a> Loaded<'a> {
    /// The op over inputs that make a meaningful run.
    ///
    /// # Errors
    /// A spec that is not valid, and whatever the device refuses.
    pub fn new(device: &'a Any, op: Op) -> Result<Self> {
        op.kernel().validate()?;
        let inputs = op.kernel().inputs(&mut Rng::new(1));
        let buffers = load_args(device, &op.kernel().args(), &inputs)?;
        Ok(Self { device, op, buffers, fence: device.alloc("fence", 4)? })
    }

    fn record(&self) -> Result<()> {
        let operands: Vec<Operand<'_, Any>> = self.buffers.iter().map(Operand::new).collect();
        Ok(self.device.run_positional(&self.op, &operands)?)
    }

    fn wait(&self) -> Result<()> {
        Ok(crate::wait(self.device.download(&self.fence, 0, 4)).map(|_| ())?)
    }

    /// Records the op `times` times and waits until all of them are done.
    pub fn run(&self, times: u64) -> Result<()> {
        (0..times).try_for_each(|_| self.record())?;
        self.wait()
    }

    /// Seconds of one run, all operands in the caches that hold them.
    pub fn time(&self, effort: Effort) -> Result<Spread> {
        samples(self.device, effort, || self.record(), || self.wait())
    }
}
