//! Everything that can go wrong between a file, a device and a caller.

use std::fmt;

/// A request that failed. Whatever was asked for was not done: no tensor is half loaded, no cache half written.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A spec that an op or an executor refuses.
    Kernel(foveate_kernels::error::Error),
    /// Bytes that could not be read: a failed request, or a range outside the file.
    Read { what: String, reason: String },
    /// A file that is damaged, or not of the format it was opened as.
    Format { what: String, reason: String },
    /// A tensor that the model needs and no file holds.
    MissingTensor { name: String, shape: Vec<u64> },
    /// A tensor of another shape than the model needs.
    TensorShape { name: String, expected: Vec<u64>, got: Vec<u64> },
    /// A tensor stored in a type that no kernel reads.
    UnsupportedTensorType { tensor: String, dtype: String },
    /// A model family that is not implemented.
    UnsupportedArchitecture { name: String, supported: String },
    /// A model configuration that is wrong or that its family does not define.
    Config { reason: String },
    /// A tokenizer that could not be built, or a text that it could not split.
    Tokenizer { reason: String },
    /// A chat template that is missing, wrong, refuses the messages or does not end.
    Template { reason: String },
    /// A device that failed, was lost or was not found.
    Device { reason: String },
    /// An allocation beyond what the device or the caller's budget has, in bytes.
    OutOfMemory { needs: u64, has: u64 },
    /// More tokens than the sequence has room for.
    ContextFull { tokens: u64, context: u64 },
    /// A prompt without tokens, from which nothing can be predicted.
    EmptyPrompt,
    /// Work that its caller cancelled.
    Cancelled,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A damaged file: `what` names it, `reason` says where it breaks the format.
    pub(crate) fn format(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Format { what: what.into(), reason: reason.into() }
    }

    /// A refused tokenizer or text.
    pub(crate) fn tokenizer(reason: impl fmt::Display) -> Self {
        Error::Tokenizer { reason: one_line(&reason.to_string()) }
    }

    /// A device that can't do what was asked of it.
    pub(crate) fn device(reason: impl Into<String>) -> Self {
        Error::Device { reason: reason.into() }
    }

    /// A refused template.
    pub(crate) fn template(reason: impl fmt::Display) -> Self {
        Error::Template { reason: one_line(&reason.to_string()) }
    }
}

/// Messages are one line and of bounded length, also where they quote what a file says.
pub(crate) fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if line.len() < text.len() && text.chars().nth(MOST).is_some() {
        line.push_str("...");
    }
    line
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kernel(error) => error.fmt(f),
            Error::Read { what, reason } => write!(f, "cannot read {what}: {reason}"),
            Error::Format { what, reason } => write!(f, "{what} is damaged: {reason}"),
            Error::MissingTensor { name, shape } => write!(f, "tensor {name} of shape {shape:?} is missing"),
            Error::TensorShape { name, expected, got } => {
                write!(f, "tensor {name} must have shape {expected:?}, got {got:?}")
            }
            Error::UnsupportedTensorType { tensor, dtype } => {
                write!(f, "tensor {tensor} is stored as {dtype}, which is not supported")
            }
            Error::UnsupportedArchitecture { name, supported } => {
                write!(f, "architecture {name} is not supported, these are: {supported}")
            }
            Error::Config { reason } => write!(f, "model configuration: {reason}"),
            Error::Tokenizer { reason } => write!(f, "tokenizer: {reason}"),
            Error::Template { reason } => write!(f, "chat template: {reason}"),
            Error::Device { reason } => write!(f, "device: {reason}"),
            Error::OutOfMemory { needs, has } => write!(f, "out of memory: needs {needs} bytes, has {has}"),
            Error::ContextFull { tokens, context } => {
                write!(f, "{tokens} tokens do not fit the context of {context}")
            }
            Error::EmptyPrompt => f.write_str("the prompt has no tokens"),
            Error::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Kernel(error) => Some(error),
            _ => None,
        }
    }
}

impl From<foveate_kernels::error::Error> for Error {
    fn from(error: foveate_kernels::error::Error) -> Self {
        Error::Kernel(error)
    }
}
