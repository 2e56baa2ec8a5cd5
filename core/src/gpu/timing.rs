//! Times of ops on the device, from its timestamp queries.
//!
//! While timing is on, every op is a compute pass of its own, between two timestamps. Otherwise a whole submission is one
//! pass and no timestamp is written.

use super::{Gpu, lock, readback};
use crate::backend::Backend;
use crate::error::{Error, Result};
use std::ops::Range;

/// Ops whose timestamps one query set holds: WebGPU allows 4096 queries in a set.
const OPS: usize = 2048;

/// Timestamps on their way back.
#[derive(Default)]
pub(super) struct Timer {
    pub(super) on: bool,
    /// For each query set its staging buffer, and how many queries it holds.
    pending: Vec<(wgpu::Buffer, u32)>,
    /// For each op recorded, whether it has passes: one without takes no time, and has no timestamps.
    ran: Vec<bool>,
}

impl Timer {
    /// Number of ops recorded.
    pub(super) fn len(&self) -> usize {
        self.ran.len()
    }

    /// Forgets all ops but the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.ran.truncate(len);
    }

    pub(super) fn recorded(&mut self, has_passes: bool) {
        self.ran.push(has_passes);
    }

    /// Encodes `ops`, ranges of dispatches that are not empty, each into a pass of its own by `encode`.
    pub(super) fn encode(
        &mut self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        ops: &[Range<usize>],
        encode: impl Fn(&mut wgpu::ComputePass<'_>, Range<usize>),
    ) {
        for ops in ops.chunks(OPS) {
            let count = 2 * ops.len() as u32;
            let ty = wgpu::QueryType::Timestamp;
            let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("times"), ty, count });
            for (i, op) in (0..).zip(ops) {
                let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                    query_set: &set,
                    beginning_of_pass_write_index: Some(2 * i),
                    end_of_pass_write_index: Some(2 * i + 1),
                });
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                encode(&mut encoder.begin_compute_pass(&descriptor), op.clone());
            }
            let resolved = buffer(gpu, count, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
            let staging = buffer(gpu, count, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
            encoder.resolve_query_set(&set, 0..count, &resolved, 0);
            encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, Some(8 * u64::from(count)));
            self.pending.push((staging, count));
        }
    }
}

/// Memory for `count` timestamps.
fn buffer(gpu: &Gpu, count: u32, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("times"),
        size: 8 * u64::from(count),
        usage,
        mapped_at_creation: false,
    })
}

impl Gpu {
    /// True if the device supports timestamp queries.
    pub fn has_timestamps(&self) -> bool {
        self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Times every op that is recorded from here on, or none of them. What was recorded before is submitted.
    ///
    /// # Errors
    /// `Device` if the device has no timestamps.
    pub fn set_timing(&self, on: bool) -> Result<()> {
        if on && !self.has_timestamps() {
            return Err(Error::device("it has no timestamps"));
        }
        self.submit()?;
        lock(&self.recorder).timer.on = on;
        Ok(())
    }

    /// Submits, waits, and gives the seconds of every op that was recorded while timing was on and that was not given
    /// before, in the order of their recording.
    pub async fn timings(&self) -> Result<Vec<f64>> {
        let before = self.ledger.count();
        self.submit()?;
        let (pending, ran) = {
            let timer = &mut lock(&self.recorder).timer;
            (std::mem::take(&mut timer.pending), std::mem::take(&mut timer.ran))
        };
        let mut ticks = Vec::new();
        for (buffer, count) in pending {
            let staged = readback::Staged { buffer, bytes: 8 * u64::from(count), before };
            let bytes = readback::read(self, &staged).await?;
            ticks.extend(bytemuck::pod_collect_to_vec::<u8, u64>(&bytes));
        }
        let seconds = f64::from(self.queue.get_timestamp_period()) * 1e-9;
        // A clock may be set back between two timestamps; then nothing is known.
        let mut spans = ticks.chunks_exact(2).map(|t| t[1].saturating_sub(t[0]) as f64 * seconds);
        Ok(ran.into_iter().map(|ran| if ran { spans.next().unwrap_or(0.0) } else { 0.0 }).collect())
    }
}
