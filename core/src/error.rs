//! Everything that can go wrong between a file, a device and a caller.

use std::fmt;

/// A request that failed. Whatever was asked for was not done: no tensor is half loaded, no cache half written.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A spec that an op or an executor refuses.
    Kernel(foveate_kernels::error::Error),
    /// Bytes that could not be read: a failed request, or a range outside the file.
    Read {
        /// The file or request.
        what: String,
        /// The failure, or the range and the length of the file.
        reason: String,
    },
    /// A file that is damaged, or not of the format it was opened as.
    Format {
        /// The file.
        what: String,
        /// The defect, or the format that was expected.
        reason: String,
    },
    /// A tensor that the model needs and no file holds.
    MissingTensor {
        /// The tensor.
        name: String,
        /// The shape that it should have.
        shape: Vec<u64>,
    },
    /// A tensor of another shape than the model needs.
    TensorShape {
        /// The tensor.
        name: String,
        /// The shape that the model needs.
        expected: Vec<u64>,
        /// The shape in the file.
        got: Vec<u64>,
    },
    /// Tensors that the model's configuration has no place for, the first of which are named.
    UnusedTensors {
        /// The family.
        architecture: String,
        /// The names of the first few.
        names: Vec<String>,
        /// The number of all such tensors.
        count: usize,
    },
    /// A tensor stored in a type that no kernel reads.
    UnsupportedTensorType {
        /// The tensor.
        tensor: String,
        /// The type, as its format names it.
        dtype: String,
    },
    /// A model family that is not implemented.
    UnsupportedArchitecture {
        /// The family, as the file names it.
        name: String,
        /// The families that are implemented.
        supported: String,
    },
    /// A model configuration that is wrong or that its family does not define.
    Config {
        /// The key or setting that is refused, and the values that are supported.
        reason: String,
    },
    /// A tokenizer that could not be built, or a text that it could not split.
    Tokenizer {
        /// The defect of the tokenizer, or the text or token that it refuses.
        reason: String,
    },
    /// A chat template that is missing, wrong, refuses the messages or does not end.
    Template {
        /// The defect of the template, or the message that it refuses.
        reason: String,
    },
    /// A constraint on a generation that is wrong, costs too much or can't be met.
    Constraint {
        /// The kind of constraint, by the name of its flag.
        what: &'static str,
        /// The defect of the constraint, or the limit that it exceeds.
        reason: String,
    },
    /// A device that failed, was lost or was not found.
    Device {
        /// The failure that the device reports.
        reason: String,
    },
    /// A buffer of the caller's that was created without a usage that `what` needs.
    BufferUsage {
        /// The op or call that the buffer was passed to.
        what: &'static str,
        /// The usages that it needs.
        needs: String,
        /// The usages that it has.
        has: String,
    },
    /// An allocation beyond what the device or the caller's budget has, in bytes.
    OutOfMemory {
        /// Bytes that are needed.
        needs: u64,
        /// Bytes that there are.
        has: u64,
    },
    /// More tokens than the sequence has room for.
    ContextFull {
        /// Tokens that there would be.
        tokens: u64,
        /// Tokens that there is room for.
        context: u64,
    },
    /// More pages than the pool has free. No sequence has changed.
    OutOfPages {
        /// Pages that were asked for.
        needs: u32,
        /// Pages that are free.
        free: u32,
    },
    /// A length that a sequence can't go back to.
    Rollback {
        /// The length that was asked for.
        to: u32,
        /// The nearest length that it can go back to.
        nearest: u32,
        /// Tokens to be read again from there.
        replay: u32,
    },
    /// A version that a sequence does not have in its past.
    NoSuchVersion {
        /// The version that was asked for.
        version: u64,
    },
    /// A segment that a sequence does not have.
    NoSuchSegment {
        /// The number of the segment.
        id: u64,
    },
    /// Latents for a version that the sequence has left behind.
    Stale {
        /// The version that the latents were made for.
        version: u64,
        /// The version of the sequence.
        now: u64,
    },
    /// A coprocessor that gave no latents.
    Coprocessor {
        /// The reason why there are no latents.
        reason: String,
    },
    /// A file of changes, or a saved cache, that was made for another model, by the fingerprints of both.
    WrongBase {
        /// The fingerprint in the file.
        expected: String,
        /// The fingerprint of the model.
        got: String,
    },
    /// A saved cache that is whole, and of another kind than the session's.
    CacheMismatch {
        /// The property that differs.
        what: &'static str,
        /// Its value in the session.
        expected: String,
        /// Its value in the saved cache.
        got: String,
    },
    /// Embeddings that are no rows of the model's width, or not finite.
    Embeddings {
        /// The number of elements that make no rows, or the element that is not finite.
        reason: String,
    },
    /// Logits from which no token can be chosen: one is NaN or +infinity, or none is finite.
    NotFinite {
        /// The position of the token to predict, counted from 0: so many tokens were read.
        position: u64,
    },
    /// A setting of a generation that is out of its range.
    OutOfRange {
        /// The setting, by the name of its flag.
        setting: &'static str,
        /// The values that it takes.
        expected: String,
        /// The value that was given.
        got: String,
    },
    /// A setting of a generation that no sampler has, or that does not combine with others.
    Setting {
        /// The setting, its range and the value that was given.
        reason: String,
    },
    /// Every token was excluded by a mask, a ban or a penalty.
    NoToken {
        /// The position of the token to predict.
        position: u64,
    },
    /// A prompt without tokens, from which nothing can be predicted.
    EmptyPrompt,
    /// Work that its caller cancelled.
    Cancelled,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A setting out of its range.
    pub(crate) fn out_of_range(setting: &'static str, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Error::OutOfRange { setting, expected: expected.into(), got: one_line(&got.to_string()) }
    }

    /// A setting that must be a text, and is an empty one.
    pub(crate) fn empty(setting: &'static str) -> Self {
        Self::out_of_range(setting, "a text of at least one character", "\"\"")
    }

    /// A damaged file: `what` names it, `reason` says where it breaks the format.
    pub(crate) fn format(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Format { what: what.into(), reason: reason.into() }
    }

    /// A refused tokenizer or text.
    pub(crate) fn tokenizer(reason: impl fmt::Display) -> Self {
        Error::Tokenizer { reason: one_line(&reason.to_string()) }
    }

    /// A refused constraint.
    pub(crate) fn constraint(what: &'static str, reason: impl fmt::Display) -> Self {
        Error::Constraint { what, reason: one_line(&reason.to_string()) }
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
            Error::UnusedTensors { architecture, names, count } => {
                let more = if *count > names.len() { ", ..." } else { "" };
                write!(
                    f,
                    "{count} tensors have no place in a model of architecture {architecture}, and ignoring them may change \
                     results: {}{more}",
                    names.join(", ")
                )
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
            Error::Constraint { what, reason } => write!(f, "{what}: {reason}"),
            Error::Device { reason } => write!(f, "device: {reason}"),
            Error::BufferUsage { what, needs, has } => {
                write!(f, "{what} needs a buffer of usage {needs}, this one has {has}: create it with {needs}, too")
            }
            Error::OutOfMemory { needs, has } => write!(f, "out of memory: needs {needs} bytes, has {has}"),
            Error::ContextFull { tokens, context } => {
                write!(
                    f,
                    "{tokens} tokens do not fit the context of {context}: shorten the text, or ask for a larger context"
                )
            }
            Error::OutOfPages { needs, free } => write!(f, "out of pages: needs {needs}, {free} are free"),
            Error::Rollback { to, nearest, replay } => {
                write!(f, "cannot go back to {to} tokens; to {nearest}, and read {replay} again, is possible")
            }
            Error::NoSuchVersion { version } => write!(f, "the sequence has no version {version} in its past"),
            Error::NoSuchSegment { id } => write!(f, "the sequence has no segment {id}"),
            Error::Stale { version, now } => write!(f, "made for version {version} of the sequence, which is at {now}"),
            Error::Coprocessor { reason } => write!(f, "coprocessor: {reason}"),
            Error::WrongBase { expected, got } => {
                write!(f, "made for the model with fingerprint {got}, this is {expected}")
            }
            Error::CacheMismatch { what, expected, got } => {
                write!(f, "saved cache: {what} must be {expected}, got {got}")
            }
            Error::Embeddings { reason } => write!(f, "embeddings: {reason}"),
            Error::NotFinite { position } => write!(
                f,
                "the logits at position {position} are not finite (NaN or infinity): no token can be chosen; a weight is \
                 damaged, or values overflow"
            ),
            Error::OutOfRange { setting, expected, got } => write!(f, "{setting} must be {expected}, got {got}"),
            Error::Setting { reason } => f.write_str(reason),
            Error::NoToken { position } => write!(
                f,
                "no token is left at position {position}: masks, banned texts or repeated n-grams exclude the whole vocabulary"
            ),
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
