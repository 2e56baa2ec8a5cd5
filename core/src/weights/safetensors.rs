//! safetensors headers: `u64` bytes of JSON, the JSON, the tensors' bytes without gaps.
//!
//! The JSON is parsed here and not by the `safetensors` crate. That crate needs the whole file in memory to check its
//! length, and counts in `usize` (4 GiB in a browser). It keeps the last of two equal names, and refuses a whole file for
//! one element type that it does not know. The element types and their sizes are the crate's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use foveate_kernels::dtype::DType;
use safetensors::Dtype;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::foreign::foreign;
use super::source::Source;
use super::tensor::{Stored, TensorInfo};
use crate::error::{Error, Result, one_line};

/// Bytes of the length in front of the header.
const LENGTH: u64 = 8;

/// Bytes from the beginning of a file that tell what it is.
const HEAD: u64 = 64;

/// The longest header, in bytes: the limit of the `safetensors` crate.
const MAX_HEADER: u64 = 100_000_000;

/// More dimensions than any tensor has; keeps a header from becoming many times its size in memory.
const MAX_DIMS: usize = 16;

/// Reads the header of a file and nothing else; the tensors carry `index` as their file.
///
/// # Errors
/// [`Error::Format`] for a header that is too long, not JSON, or lists tensors that leave gaps, overlap, leave the file
/// or have sizes that disagree with their shape; and what the source returns.
pub(super) async fn read_header(
    file: &dyn Source,
    index: usize,
) -> Result<(Vec<TensorInfo>, BTreeMap<String, String>)> {
    let bad = |reason: String| Error::format(file.name(), reason);
    let size = file.len();
    if size < LENGTH {
        return Err(misnamed(file).await?.unwrap_or_else(|| bad(format!("{size} bytes are no safetensors file"))));
    }
    let length = file.read(0, LENGTH).await?;
    let length: [u8; LENGTH as usize] =
        length.try_into().map_err(|_| bad("the length of its header was not read".into()))?;
    let length = u64::from_le_bytes(length);
    let room = size - LENGTH;
    if length > room.min(MAX_HEADER) {
        let wrong = || bad(format!("a header of {length} bytes in a file of {size} bytes, at most {MAX_HEADER}"));
        return Err(misnamed(file).await?.unwrap_or_else(wrong));
    }
    let header = file.read(LENGTH, length).await?;
    let Header(mut tensors, notes) =
        serde_json::from_slice(&header).map_err(|error| bad(one_line(&error.to_string())))?;
    place(&mut tensors, LENGTH + length, room - length).map_err(bad)?;
    let info = |entry: Entry| TensorInfo {
        name: entry.name,
        stored: stored(entry.dtype),
        shape: entry.shape,
        file: index,
        offset: LENGTH + length + entry.range.0,
        bytes: entry.range.1 - entry.range.0,
    };
    Ok((tensors.into_iter().map(info).collect(), notes))
}

/// The error for a file that is of another kind, if its beginning tells.
async fn misnamed(file: &dyn Source) -> Result<Option<Error>> {
    let head = file.read(0, file.len().min(HEAD)).await?;
    Ok(foreign(&head).map(|says| Error::Read { what: file.name().into(), reason: says.into() }))
}

/// Checks that the tensors fill `data` bytes exactly, one after the other, and that each has the size of its shape.
fn place(tensors: &mut [Entry], start: u64, data: u64) -> Result<(), String> {
    // By the end too: an empty tensor may start where another one does.
    tensors.sort_by_key(|entry| entry.range);
    let mut end = 0;
    for entry in tensors.iter() {
        let name = one_line(&entry.name);
        if entry.range.0 != end || entry.range.1 < end {
            return Err(format!("tensor {name} at {:?} leaves a gap or overlaps another", entry.range));
        }
        end = entry.range.1;
        let elements = entry.shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
        let elements = elements.ok_or_else(|| format!("tensor {name} overflows"))?;
        if let Type::Known(dtype) = entry.dtype {
            let bits = elements.checked_mul(dtype.bitsize() as u64);
            if bits != (end - entry.range.0).checked_mul(8) {
                return Err(format!("tensor {name} of shape {:?} has another size than {dtype} gives it", entry.shape));
            }
        }
    }
    if end != data {
        return Err(format!("its tensors take {end} bytes from {start} on, the file has {data}"));
    }
    Ok(())
}

fn stored(dtype: Type) -> Stored {
    Stored::Known(match dtype {
        Type::Known(Dtype::F32) => DType::F32,
        Type::Known(Dtype::F16) => DType::F16,
        Type::Known(Dtype::BF16) => DType::BF16,
        Type::Known(Dtype::I32) => DType::I32,
        Type::Known(Dtype::U32) => DType::U32,
        Type::Known(other) => return Stored::Other(Cow::Owned(other.to_string())),
        Type::Other(name) => return Stored::Other(Cow::Owned(name)),
    })
}

/// An element type by its name in the header.
enum Type {
    Known(Dtype),
    Other(String),
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        let known = Dtype::deserialize(de::value::StrDeserializer::<de::value::Error>::new(&name));
        Ok(known.map_or_else(|_| Type::Other(one_line(&name)), Type::Known))
    }
}

/// One tensor of the header, its range counted from the end of the header.
struct Entry {
    name: String,
    dtype: Type,
    shape: Vec<u64>,
    range: (u64, u64),
}

/// The JSON fields of a tensor.
#[derive(Deserialize)]
struct Fields {
    dtype: Type,
    #[serde(deserialize_with = "shape")]
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct Dims;
    impl<'de> Visitor<'de> for Dims {
        type Value = Vec<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_DIMS} dimensions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut dims: A) -> Result<Vec<u64>, A::Error> {
            let mut shape = Vec::new();
            while let Some(dim) = dims.next_element()? {
                if shape.len() == MAX_DIMS {
                    return Err(A::Error::invalid_length(MAX_DIMS + 1, &self));
                }
                shape.push(dim);
            }
            Ok(shape)
        }
    }
    deserializer.deserialize_seq(Dims)
}

/// A value of `__metadata__`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Note {
    Text(String),
    Other(IgnoredAny),
}

/// The tensors of a header, in the order of the file, and its notes. Equal names are found by the checkpoint.
struct Header(Vec<Entry>, BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut tensors, mut notes) = (Vec::new(), BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        // Texts by the format's rules; what breaks them in files at large was never read by anyone.
                        let all: BTreeMap<String, Note> = map.next_value()?;
                        let text = |(key, note)| match note {
                            Note::Text(text) => Some((key, text)),
                            Note::Other(_) => None,
                        };
                        notes = all.into_iter().filter_map(text).collect();
                        continue;
                    }
                    let Fields { dtype, shape, data_offsets: range } = map.next_value()?;
                    tensors.push(Entry { name, dtype, shape, range });
                }
                Ok(Header(tensors, notes))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

/// The files that `model.safetensors.index.json` names, each once, sorted. The rest of it is not needed: the headers of
/// the files say which tensors they hold.
///
/// # Errors
/// [`Error::Format`] for anything but an index, and for names that are not plain file names: they come from a download
/// and are joined to a folder.
pub fn shard_names(index_json: &[u8]) -> Result<Vec<String>> {
    let bad = |reason: String| Error::format("model.safetensors.index.json", reason);
    let mut json = serde_json::Deserializer::from_slice(index_json);
    let mut names = json.deserialize_map(Index).map_err(|error| bad(one_line(&error.to_string())))?;
    json.end().map_err(|error| bad(one_line(&error.to_string())))?;
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(bad("it names no files".into()));
    }
    match names.iter().find(|name| !is_file_name(name)) {
        Some(name) => Err(bad(format!("{} is not a file name", one_line(name)))),
        None => Ok(names),
    }
}

/// True for a file name without a path on every system: no separators, drives, streams, devices or control characters.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ()+=@".contains(c))
}

/// The values of `weight_map`.
struct Index;

impl<'de> Visitor<'de> for Index {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        let mut names = None;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key != "weight_map" {
                map.next_value::<IgnoredAny>()?;
            } else if names.replace(map.next_value_seed(WeightMap)?).is_some() {
                return Err(A::Error::duplicate_field("weight_map"));
            }
        }
        names.ok_or_else(|| A::Error::missing_field("weight_map"))
    }
}

struct WeightMap;

impl<'de> DeserializeSeed<'de> for WeightMap {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMap {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from tensor to file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some((_, name)) = map.next_entry::<IgnoredAny, Cow<'_, str>>()? {
            // Neighbours usually share a file: half a million tensors, a hundred names.
            if names.last().is_none_or(|last| *last != name) {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }
}
