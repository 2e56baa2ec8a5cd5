//! Keeps the bytes that a fingerprint needs, about 12 kB a tensor, while a file streams by.
//!
//! A second request for these bytes could download the file again.

use super::source::{BoxFuture, SharedBytes, Source};
use crate::error::Result;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of one sample of a tensor, of which there are three.
const SAMPLE: u64 = 4096;

/// Returns the offsets and the length of the samples of a tensor of `bytes` bytes. Samples may overlap.
pub(super) fn samples(bytes: u64) -> ([u64; 3], u64) {
    let take = bytes.min(SAMPLE);
    let last = bytes - take;
    ([0, last / 2, last], take)
}

/// A file that remembers samples of what was read from it.
pub(super) struct Sampled {
    file: Box<dyn Source>,
    /// In the order of their places, apart from each other.
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    range: Range<u64>,
    /// From its beginning on, as far as reading has come.
    bytes: Vec<u8>,
}

impl Sampled {
    /// `tensors` are the ranges of the file's tensors.
    pub(super) fn new(file: Box<dyn Source>, tensors: impl Iterator<Item = Range<u64>>) -> Self {
        let mut all: Vec<Range<u64>> = tensors
            .flat_map(|tensor| {
                let (starts, take) = samples(tensor.end - tensor.start);
                starts.map(|at| tensor.start + at..tensor.start + at + take)
            })
            .collect();
        all.sort_unstable_by_key(|range| range.start);
        let mut kept: Vec<Kept> = Vec::new();
        for range in all {
            match kept.last_mut().filter(|last| range.start < last.range.end) {
                Some(last) => last.range.end = last.range.end.max(range.end),
                None => kept.push(Kept { range, bytes: Vec::new() }),
            }
        }
        Self { file, kept: Mutex::new(kept) }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a range, if all of them went by.
    fn known(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let kept = self.kept();
        let index = kept.partition_point(|k| k.range.start <= offset).checked_sub(1)?;
        let from = (offset - kept[index].range.start) as usize;
        kept[index].bytes.get(from..from + len as usize).map(<[u8]>::to_vec)
    }

    /// Keeps what goes on from where a sample ended.
    fn keep(&self, offset: u64, bytes: &[u8]) {
        let mut kept = self.kept();
        let first = kept.partition_point(|k| k.range.end <= offset);
        let end = offset + bytes.len() as u64;
        for k in kept[first..].iter_mut().take_while(|k| k.range.start < end) {
            let at = k.range.start + k.bytes.len() as u64;
            if (offset..end).contains(&at) {
                k.bytes.extend_from_slice(&bytes[(at - offset) as usize..(k.range.end.min(end) - offset) as usize]);
            }
        }
    }
}

impl Source for Sampled {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            if let Some(bytes) = self.known(offset, len) {
                return Ok(bytes);
            }
            let bytes = self.file.read(offset, len).await?;
            self.keep(offset, &bytes);
            Ok(bytes)
        })
    }

    fn shared(&self) -> Option<SharedBytes> {
        self.file.shared()
    }
}
