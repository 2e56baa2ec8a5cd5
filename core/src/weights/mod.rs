//! Weights as files hold them: safetensors and GGUF.
//!
//! Opening a [`Checkpoint`] reads headers only. Tensors stay in their storage format and are read in ranges, so a
//! model larger than memory can be streamed to a device. Files are untrusted: every count is bounded by the bytes
//! that could hold it, every range is checked against the file, and tensors never overlap.

pub(crate) mod adapters;
mod checkpoint;
mod foreign;
pub mod gguf;
mod hollow;
mod made;
mod quantized;
mod safetensors;
mod sampled;
mod source;
mod tensor;

pub use checkpoint::Checkpoint;
pub use foreign::foreign;
pub(crate) use quantized::Method;
pub use safetensors::shard_names;
pub use source::{BoxFuture, Memory, SharedBytes, Source, check_range};
pub use tensor::{Stored, TensorInfo};
