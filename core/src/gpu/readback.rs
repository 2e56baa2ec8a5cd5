//! The way back: staging buffers that are used again.

use super::{Gpu, device, lock};
use crate::error::{Error, Result};

/// Staging buffers at rest.
#[derive(Default)]
pub(super) struct Pool(Vec<wgpu::Buffer>);

/// Larger staging buffers are not kept.
const KEPT_BYTES: u64 = 1 << 20;

impl Pool {
    /// A buffer of at least `bytes`.
    pub(super) fn take(&mut self, gpu: &Gpu, bytes: u64) -> Result<wgpu::Buffer> {
        let size = bytes.max(256).next_power_of_two();
        if size > gpu.caps.buffer_bytes {
            return Err(Error::OutOfMemory { needs: bytes, has: gpu.caps.buffer_bytes });
        }
        if let Some(i) = self.0.iter().position(|b| b.size() == size) {
            return Ok(self.0.swap_remove(i));
        }
        lock(&gpu.ledger.stats).buffers += 1;
        Ok(gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }

    pub(super) fn put(&mut self, buffer: wgpu::Buffer) {
        if buffer.size() <= KEPT_BYTES && self.0.len() < 16 {
            self.0.push(buffer);
        }
    }
}

/// Waits for the staging buffer's contents.
pub(super) async fn read(gpu: &Gpu, staging: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>> {
    if bytes == 0 {
        device::wait(&gpu.device)?;
        return Ok(Vec::new());
    }
    let (send, mapped) = futures_channel::oneshot::channel();
    let slice = staging.slice(..bytes);
    // The receiver is gone only if the caller dropped this future.
    gpu.scoped(|| slice.map_async(wgpu::MapMode::Read, move |result| drop(send.send(result))));
    device::wait(&gpu.device)?;
    let mapped = mapped.await.map_err(|_| Error::device("the device went away during a download"))?;
    #[cfg(target_arch = "wasm32")]
    gpu.told().await;
    // A failure of the device says more than a failed map.
    gpu.ledger.check()?;
    mapped.map_err(|e| Error::device(format!("download: {e}")))?;
    let view = slice.get_mapped_range().map_err(|e| Error::device(format!("download: {e}")))?;
    let data = view.to_vec();
    drop(view);
    staging.unmap();
    Ok(data)
}
