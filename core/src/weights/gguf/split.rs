//! Models in several files: each says in its metadata how many there are and which one it is.

use super::Header;
use crate::error::{Error, Result};

/// Checks that these headers are all parts of one model, each once, and returns the index of the first part.
///
/// # Errors
/// [`Error::Format`] for files that do not belong together, [`Error::Read`] that names a part that is missing.
pub(crate) fn first_part(names: &[&str], headers: &[Header]) -> Result<usize> {
    let bad = |index: usize, reason: String| Error::format(names[index], reason);
    let Some(count) = headers.first().map(count) else {
        return Err(Error::format("the model", "it has no files"));
    };
    let mut parts: Vec<Option<usize>> = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        if self::count(header) != count {
            let reason = format!("split.count is {}, and {count} in {}", self::count(header), names[0]);
            return Err(bad(index, reason));
        }
        let number = header.metadata.u64("split.no").unwrap_or(0);
        if number >= count {
            return Err(bad(index, format!("split.no is {number} of {count} parts, which begin at 0")));
        }
        // Bounded by `count`, which the files alone do not bound.
        let number = number as usize;
        if parts.len() <= number {
            if number >= 100_000 {
                return Err(bad(index, format!("split.no is {number}: no model has so many parts")));
            }
            parts.resize(number + 1, None);
        }
        if let Some(other) = parts[number].replace(index) {
            return Err(bad(index, format!("it is part {} of {count}, and so is {}", number + 1, names[other])));
        }
    }
    let missing = (0..count).find(|&number| parts.get(number as usize).copied().flatten().is_none());
    if let Some(number) = missing {
        return Err(Error::Read {
            what: names[0].into(),
            reason: format!(
                "it is one of {count} parts of a split model, and part {0} is missing: open all of them together, or if \
                 parts are found by name, call it NAME-{0:05}-of-{count:05}.gguf",
                number + 1
            ),
        });
    }
    let first = parts[0].unwrap_or(0);
    let tensors: usize = headers.iter().map(|header| header.tensors.len()).sum();
    match headers[first].metadata.u64("split.tensors.count") {
        Some(wanted) if count > 1 && wanted != tensors as u64 => {
            Err(bad(first, format!("split.tensors.count is {wanted}, its parts hold {tensors} tensors")))
        }
        _ => Ok(first),
    }
}

/// Parts of the model, 1 if nothing is said.
fn count(header: &Header) -> u64 {
    header.metadata.u64("split.count").unwrap_or(1).max(1)
}
