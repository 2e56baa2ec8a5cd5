//! Device memory.

use super::{Ledger, lock};
use crate::error::{Error, Result};
use foveate_kernels::plan::Caps;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory on the device: one buffer, or several where a tensor is larger than a binding.
#[derive(Clone)]
pub struct GpuBuffer(Arc<Inner>);

struct Inner {
    /// Never used again for another buffer.
    id: u64,
    pieces: Vec<wgpu::Buffer>,
    /// Bytes of every piece but the last.
    piece_bytes: u64,
    bytes: u64,
    /// Bytes that count against the device.
    allocated: u64,
    ledger: Arc<Ledger>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.ledger.stats).bytes -= self.allocated;
        lock(&self.ledger.dropped).push(self.id);
    }
}

/// The names in `BufferUsages(STORAGE | COPY_SRC)`.
fn bare(usage: &str) -> String {
    usage.trim_start_matches("BufferUsages(").trim_end_matches(')').into()
}

/// A part of one piece.
pub(super) struct Copy<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Offset in the whole buffer.
    pub(super) to: u64,
}

impl GpuBuffer {
    pub(super) fn new(
        device: &wgpu::Device,
        caps: &Caps,
        ledger: &Arc<Ledger>,
        label: &'static str,
        bytes: u64,
        piece_bytes: u64,
    ) -> Result<Self> {
        // Kernels read whole vectors of 16 bytes.
        let padded = |bytes: u64| bytes.max(1).div_ceil(16).saturating_mul(16);
        if padded(piece_bytes) > caps.buffer_bytes {
            return Err(Error::OutOfMemory { needs: bytes, has: caps.buffer_bytes });
        }
        let mut pieces = Vec::new();
        let mut allocated = 0;
        let mut left = bytes;
        while pieces.is_empty() || left > 0 {
            let size = padded(left.min(piece_bytes));
            pieces.push(device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }));
            allocated += size;
            left -= left.min(piece_bytes);
            ledger.check()?;
        }
        let mut stats = lock(&ledger.stats);
        stats.bytes += allocated;
        stats.peak_bytes = stats.peak_bytes.max(stats.bytes);
        stats.buffers += pieces.len() as u64;
        drop(stats);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Self(Arc::new(Inner { id, pieces, piece_bytes, bytes, allocated, ledger: ledger.clone() })))
    }

    pub(super) fn wrap(buffer: wgpu::Buffer, ledger: &Arc<Ledger>) -> Self {
        let bytes = buffer.size();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let inner = Inner { id, pieces: vec![buffer], piece_bytes: bytes, bytes, allocated: 0, ledger: ledger.clone() };
        Self(Arc::new(inner))
    }

    /// Refuses a buffer of the caller's that was created without `usage`.
    pub(super) fn allows(&self, what: &'static str, usage: wgpu::BufferUsages) -> Result<()> {
        match self.0.pieces.iter().find(|piece| !piece.usage().contains(usage)) {
            None => Ok(()),
            Some(piece) => {
                let (needs, has) = (format!("{usage:?}"), format!("{:?}", piece.usage()));
                Err(Error::BufferUsage { what, needs: bare(&needs), has: bare(&has) })
            }
        }
    }

    /// Bytes of the buffer.
    pub fn len(&self) -> u64 {
        self.0.bytes
    }

    /// Returns whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.bytes == 0
    }

    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// The piece that holds byte `offset`, which piece that is, and the offset in it.
    pub(super) fn piece(&self, offset: u64) -> (&wgpu::Buffer, usize, u64) {
        let inner = &*self.0;
        let index = (offset / inner.piece_bytes.max(1)).min(inner.pieces.len() as u64 - 1) as usize;
        (&inner.pieces[index], index, offset - index as u64 * inner.piece_bytes)
    }

    fn range(&self, offset: u64, bytes: u64) -> Result<()> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.0.bytes.div_ceil(4) * 4 && offset.is_multiple_of(4) => Ok(()),
            _ => Err(Error::device(format!("{bytes} bytes at {offset} of a buffer of {}", self.0.bytes))),
        }
    }

    /// The parts of pieces that make up a range.
    pub(super) fn copies(&self, offset: u64, bytes: u64) -> Result<Vec<Copy<'_>>> {
        self.range(offset, bytes)?;
        if !bytes.is_multiple_of(4) {
            return Err(Error::device(format!("a transfer of {bytes} bytes, no multiple of 4")));
        }
        let mut copies = Vec::new();
        let mut done = 0;
        while done < bytes {
            let (buffer, _, at) = self.piece(offset + done);
            let take = (bytes - done).min(buffer.size() - at).min(self.0.piece_bytes.max(4) - at);
            copies.push(Copy { buffer, offset: at, bytes: take, to: done });
            done += take;
        }
        Ok(copies)
    }

    /// Queues a write. The last bytes of a length that is no multiple of 4 are padded with zeros.
    pub(super) fn write(&self, queue: &wgpu::Queue, offset: u64, data: &[u8]) -> Result<()> {
        self.range(offset, data.len() as u64)?;
        let whole = data.len() / 4 * 4;
        for copy in self.copies(offset, whole as u64)? {
            queue.write_buffer(copy.buffer, copy.offset, &data[copy.to as usize..][..copy.bytes as usize]);
        }
        if whole < data.len() {
            let mut word = [0; 4];
            word[..data.len() - whole].copy_from_slice(&data[whole..]);
            let (buffer, _, at) = self.piece(offset + whole as u64);
            queue.write_buffer(buffer, at, &word);
        }
        Ok(())
    }
}
