//! Files that are mapped instead of read.

use crate::error::{Error, Result};
use foveate_core::weights::{BoxFuture, SharedBytes, Source, check_range};
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A mapped file: host executors use weights where the page cache holds them.
///
/// The file may not be cut while it is mapped: reading what is gone ends the process on most systems. Downloads are
/// renamed into place for that reason and never written to again.
pub struct Mapped {
    name: String,
    map: Arc<Mmap>,
}

impl Mapped {
    /// # Errors
    /// `File` if there is no such file or the system can't map it.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file(path, plain(&e)))?;
        let kind = file.metadata().map_err(|e| Error::file(path, plain(&e)))?;
        if !kind.is_file() {
            return Err(Error::file(path, "it is no file"));
        }
        // SAFETY: the map is only read. That nobody cuts the file meanwhile is documented above and can't be enforced;
        // bytes that somebody changes are numbers to the kernels, whose ranges were checked against the headers.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::file(path, plain(&e)))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, map: Arc::new(map) })
    }
}

/// An error of the system without its number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

impl Source for Mapped {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.map.len() as u64
    }

    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, foveate_core::Result<Vec<u8>>> {
        let bytes = check_range(&self.name, self.len(), offset, len)
            .map(|()| self.map[offset as usize..(offset + len) as usize].to_vec());
        Box::pin(std::future::ready(bytes))
    }

    fn shared(&self) -> Option<SharedBytes> {
        Some(self.map.clone())
    }
}
