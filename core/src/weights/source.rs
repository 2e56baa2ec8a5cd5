//! Sources of bytes: files, memory, and readers that the caller implements.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::send::{MaybeSend, MaybeSync};

/// A boxed future; `Send`, except in a browser, where it waits for a JavaScript promise.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed future; `Send` elsewhere, but here it may wait for a JavaScript promise.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Bytes that several readers hold at once.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A file, wherever it lies: ranges of a URL or a `File` in a browser, a mapped file natively.
pub trait Source: MaybeSend + MaybeSync {
    /// The name of the source in messages, usually the file's name.
    fn name(&self) -> &str;

    /// Bytes of the file. It does not change while the source lives.
    fn len(&self) -> u64;

    /// Returns whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly `len` bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Read`] if the range leaves the file or the bytes cannot be had.
    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, Result<Vec<u8>>>;

    /// The whole file where it is already in memory, so that host executors use weights in place.
    fn shared(&self) -> Option<SharedBytes> {
        None
    }
}

/// Refuses a range of `len` bytes from `offset` on that leaves a file of `size` bytes.
///
/// # Errors
/// [`Error::Read`], naming the file.
pub fn check_range(name: &str, size: u64, offset: u64, len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::Read {
            what: name.into(),
            reason: format!("{len} bytes from {offset} on leave the file of {size} bytes"),
        }),
    }
}

/// A file that is in memory as a whole.
#[derive(Clone, Debug)]
pub struct Memory {
    name: String,
    bytes: Arc<Vec<u8>>,
}

impl Memory {
    /// Wraps bytes under a name for messages.
    pub fn new(name: impl Into<String>, bytes: impl Into<Arc<Vec<u8>>>) -> Self {
        Memory { name: name.into(), bytes: bytes.into() }
    }
}

impl Source for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, Result<Vec<u8>>> {
        let bytes = check_range(&self.name, self.len(), offset, len)
            .map(|()| self.bytes[offset as usize..(offset + len) as usize].to_vec());
        Box::pin(std::future::ready(bytes))
    }

    fn shared(&self) -> Option<SharedBytes> {
        Some(self.bytes.clone())
    }
}
