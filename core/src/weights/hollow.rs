//! Files of which only the headers are there.

use super::source::{BoxFuture, Source};
use crate::error::Result;

/// A file that reads as zeros.
pub(super) struct Hollow {
    pub(super) name: String,
    pub(super) len: u64,
}

impl Source for Hollow {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, _offset: u64, len: u64) -> BoxFuture<'_, Result<Vec<u8>>> {
        Box::pin(std::future::ready(Ok(vec![0; len as usize])))
    }
}
