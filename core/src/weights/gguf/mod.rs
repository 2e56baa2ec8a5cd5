//! GGUF, versions 2 and 3, little endian.
//!
//! `GGUF`, `u32` version, `u64` tensors, `u64` metadata entries; the entries (key, type, value); the tensors (name,
//! dimensions innermost first, type, offset); padding; the tensors' bytes. Offsets count from the padded end of the
//! header. Source: docs/gguf.md of ggml.

mod cursor;
mod metadata;
mod split;
mod types;

pub use metadata::{Array, Metadata, Strings, Value};
pub(crate) use split::first_part;

use cursor::{Cursor, Stop};

use super::foreign::foreign;
use super::source::Source;
use super::tensor::TensorInfo;
use crate::error::{Error, Result, one_line};

/// Bytes of the first read; each further one doubles what was read. Most vocabularies fit three of them.
const WINDOW: u64 = 1 << 20;

/// ggml has four dimensions; a file may come from a version that has more.
const MAX_DIMS: u32 = 8;

/// Default alignment of tensors in bytes, if `general.alignment` is missing.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The header of a GGUF file: everything before the tensor data.
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// Reads the header in growing windows, never more than twice its length (or one window).
///
/// # Errors
/// [`Error::Format`] for anything the format does not allow, and what the source returns.
pub(crate) async fn read_header(file: &dyn Source) -> Result<Header> {
    let size = file.len();
    let mut bytes = Vec::new();
    let mut want = WINDOW.min(size);
    if size == 0 {
        return Err(Error::Read { what: file.name().into(), reason: foreign(&[]).unwrap_or_default().into() });
    }
    loop {
        let have = bytes.len() as u64;
        bytes.append(&mut file.read(have, want - have).await?);
        if bytes.len() as u64 != want {
            let reason = format!("asked for its first {want} bytes, got {}", bytes.len());
            return Err(Error::Read { what: file.name().into(), reason });
        }
        if let Some(says) = foreign(&bytes).filter(|_| !bytes.starts_with(b"GGUF")) {
            return Err(Error::Read { what: file.name().into(), reason: says.into() });
        }
        match parse(&bytes, size) {
            Ok(header) => return Ok(header),
            // A need lies within the file and beyond what was read, so that the loop ends.
            Err(Stop::Need(end)) => want = end.max(2 * want).min(size),
            Err(Stop::Bad(reason)) => return Err(Error::format(file.name(), reason)),
        }
    }
}

/// Parses a header from the first bytes of a file of `size` bytes.
fn parse(bytes: &[u8], size: u64) -> Result<Header, Stop> {
    let mut cursor = Cursor::new(bytes, size);
    if cursor.take(4)? != b"GGUF" {
        return Err(Stop::Bad("it does not begin with GGUF".into()));
    }
    match cursor.u32()? {
        2 | 3 => {}
        version if matches!(version.swap_bytes(), 1..=3) => {
            return Err(Stop::Bad("it is big endian, which is not supported".into()));
        }
        version => return Err(Stop::Bad(format!("version {version} is not supported, 2 and 3 are"))),
    }
    let tensor_count = cursor.u64()?;
    let entry_count = cursor.u64()?;

    // key length, type and one byte of value; name length, dimension count, type and offset
    cursor.expect_room(entry_count, 8 + 4 + 1, "metadata entries")?;
    let metadata = Metadata::parse(&mut cursor, entry_count)?;
    cursor.expect_room(tensor_count, 8 + 4 + 4 + 8, "tensors")?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(RawTensor::parse(&mut cursor)?);
    }

    let alignment = alignment(&metadata)?;
    let data_start = cursor
        .position()
        .checked_next_multiple_of(alignment)
        .ok_or_else(|| Stop::Bad(format!("alignment {alignment} overflows")))?;
    Ok(Header { tensors: place(tensors, data_start, alignment, size)?, metadata })
}

fn alignment(metadata: &Metadata) -> Result<u64, Stop> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(value) => value
            .as_u64()
            .filter(|alignment| alignment.is_power_of_two())
            .ok_or_else(|| Stop::Bad("general.alignment is not a power of two".into())),
    }
}

/// A tensor as the header lists it.
struct RawTensor {
    name: String,
    shape: Vec<u64>,
    ggml_type: u32,
    /// From the start of the data.
    offset: u64,
}

impl RawTensor {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let name = cursor.name("tensor name")?.to_owned();
        let dims = cursor.u32()?;
        if dims > MAX_DIMS {
            return Err(Stop::Bad(format!("tensor {} has {dims} dimensions", one_line(&name))));
        }
        let mut shape = Vec::with_capacity(dims as usize);
        for _ in 0..dims {
            shape.push(cursor.u64()?);
        }
        shape.reverse();
        Ok(RawTensor { name, shape, ggml_type: cursor.u32()?, offset: cursor.u64()? })
    }

    /// Bytes of the tensor; `None` for a type of unknown size.
    fn bytes(&self) -> Result<Option<u64>, Stop> {
        let bad = |reason: &str| Stop::Bad(format!("tensor {} {reason}", one_line(&self.name)));
        if self.shape.contains(&0) {
            return Err(bad("has a dimension of 0"));
        }
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .ok_or_else(|| bad("overflows"))?;
        let Some((block_len, block_bytes)) = types::block(self.ggml_type) else { return Ok(None) };
        if !self.shape.last().unwrap_or(&1).is_multiple_of(block_len) {
            return Err(bad("has rows that are not whole blocks"));
        }
        (elements / block_len).checked_mul(block_bytes).map(Some).ok_or_else(|| bad("overflows"))
    }
}

/// Turns offsets into ranges of the file: aligned, inside it and apart from each other. A tensor whose type has no
/// known size gets all bytes up to the next one.
fn place(mut raw: Vec<RawTensor>, data_start: u64, alignment: u64, size: u64) -> Result<Vec<TensorInfo>, Stop> {
    raw.sort_by_key(|tensor| tensor.offset);
    let starts: Vec<u64> = raw.iter().map(|tensor| data_start.saturating_add(tensor.offset)).collect();
    let mut tensors = Vec::with_capacity(raw.len());
    for (i, tensor) in raw.into_iter().enumerate() {
        let bad = |reason: String| Stop::Bad(format!("tensor {} {reason}", one_line(&tensor.name)));
        let (start, next) = (starts[i], starts.get(i + 1).copied());
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(bad(format!("at offset {} is not aligned to {alignment}", tensor.offset)));
        }
        let bytes = match tensor.bytes()? {
            Some(bytes) => bytes,
            None => next.unwrap_or(size).saturating_sub(start).max(1),
        };
        let end = start.saturating_add(bytes);
        if end > size {
            let reason = format!("ends at byte {end}, behind the end of the file at {size}: download the whole file");
            return Err(bad(reason));
        }
        if next.is_some_and(|next| next < end) {
            return Err(bad("overlaps another".into()));
        }
        tensors.push(TensorInfo {
            stored: types::stored(tensor.ggml_type),
            name: tensor.name,
            shape: tensor.shape,
            file: 0,
            offset: start,
            bytes,
        });
    }
    Ok(tensors)
}
