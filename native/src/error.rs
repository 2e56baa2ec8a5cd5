//! Errors of finding, downloading and opening a model.

use std::fmt;
use std::path::Path;

/// A request that failed. Nothing half done is left where the next one would take it for whole.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An error of the runtime.
    Core(foveate_core::Error),
    /// A file or folder that can't be used.
    File {
        /// The path as the caller gave it.
        path: String,
        /// The fault, and the way around it.
        reason: String,
    },
    /// A name that is neither a path, nor in the catalogue, nor a hub id.
    UnknownModel {
        /// The name as the caller gave it.
        name: String,
    },
    /// A source that did not give what was asked of it.
    Download {
        /// The address or file that was asked for.
        what: String,
        /// The fault, and the way around it.
        reason: String,
    },
    /// A download whose bytes are not those that were published. They were thrown away.
    Checksum {
        /// The address or file that was downloaded.
        what: String,
        /// The published checksum.
        expected: String,
        /// The checksum of the bytes that came.
        got: String,
    },
    /// An option that makes no sense.
    Usage {
        /// The option, the expected values, and the value that came.
        reason: String,
    },
    /// The reader of the output is gone, or the output can't be written.
    Output(std::io::Error),
}

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn file(path: &Path, reason: impl fmt::Display) -> Self {
        Error::File { path: path.display().to_string(), reason: reason.to_string() }
    }

    #[cfg(feature = "hub")]
    pub(crate) fn download(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Error::Download { what: what.into(), reason: reason.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Core(error) => error.fmt(f),
            Error::File { path, reason } => write!(f, "{path}: {reason}"),
            Error::UnknownModel { name } => write!(
                f,
                "no file or folder {}, and no model of this name: give a path, a hub id (org/repo) or one of {}",
                if name.is_empty() { "\"\"" } else { name },
                crate::catalogue::names()
            ),
            Error::Download { what, reason } => write!(f, "cannot download {what}: {reason}"),
            Error::Checksum { what, expected, got } => {
                write!(f, "{what} is not what was published: its checksum is {got}, not {expected}; it was thrown away")
            }
            Error::Usage { reason } => f.write_str(reason),
            Error::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Core(error) => Some(error),
            Error::Output(error) => Some(error),
            _ => None,
        }
    }
}

impl From<foveate_core::Error> for Error {
    fn from(error: foveate_core::Error) -> Self {
        Error::Core(error)
    }
}

impl From<foveate_core::kernels::error::Error> for Error {
    fn from(error: foveate_core::kernels::error::Error) -> Self {
        Error::Core(error.into())
    }
}
