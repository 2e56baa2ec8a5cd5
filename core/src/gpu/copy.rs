//! Copies within the device's memory.
//!
//! WebGPU has no copy from a buffer to itself, and the rows of a pool stay in their buffer. All copies therefore go
//! through an intermediate buffer: first every row into it, then every row out of it. The device waits once, not once
//! for each copy.

use super::buffer::GpuBuffer;
use super::record::Recorder;
use super::{Gpu, buffer};
use crate::backend::Copy;
use crate::error::{Error, Result};

/// Bytes that are on their way at a time.
const BETWEEN: u64 = 4 << 20;

/// A part of one piece and its place in the memory between.
struct Part<'a> {
    piece: buffer::Copy<'a>,
    between: u64,
}

/// The parts of pieces that hold `bytes` from `offset` on, behind the first `at` bytes between.
fn parts<'a>(parts: &mut Vec<Part<'a>>, buffer: &'a GpuBuffer, (offset, bytes): (u64, u64), at: u64) -> Result<()> {
    for piece in buffer.copies(offset, bytes)? {
        let between = at + piece.to;
        parts.push(Part { piece, between });
    }
    Ok(())
}

impl Recorder {
    /// Submits what is recorded and the copies behind it.
    pub(super) fn copy(&mut self, gpu: &Gpu, copies: &[Copy<'_, Gpu>]) -> Result<()> {
        for copy in copies {
            for place in [&copy.from, &copy.to] {
                place.buffer.copies(place.offset, copy.bytes)?;
            }
        }
        let all: u64 = copies.iter().map(|c| c.bytes).sum();
        let size = all.min(BETWEEN).max(copies.iter().map(|c| c.bytes).max().unwrap_or(0));
        if self.between.as_ref().is_none_or(|b| b.len() < size) {
            self.between = Some(crate::Backend::alloc(gpu, "between", size)?);
        }
        let between = self.between.clone().ok_or_else(|| Error::device("no memory for copies"))?;
        let mut left = copies;
        while !left.is_empty() {
            let (mut there, mut back, mut taken, mut count) = (Vec::new(), Vec::new(), 0, 0);
            for copy in left {
                if taken + copy.bytes > size {
                    break;
                }
                parts(&mut there, copy.from.buffer, (copy.from.offset, copy.bytes), taken)?;
                parts(&mut back, copy.to.buffer, (copy.to.offset, copy.bytes), taken)?;
                taken += copy.bytes;
                count += 1;
            }
            left = &left[count..];
            let (middle, _, _) = between.piece(0);
            self.submit(gpu, |encoder| {
                for Part { piece, between } in there {
                    encoder.copy_buffer_to_buffer(piece.buffer, piece.offset, middle, between, Some(piece.bytes));
                }
                for Part { piece, between } in back {
                    encoder.copy_buffer_to_buffer(middle, between, piece.buffer, piece.offset, Some(piece.bytes));
                }
            });
        }
        Ok(())
    }
}
