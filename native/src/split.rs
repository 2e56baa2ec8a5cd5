//! Names of the parts of a split GGUF model: `NAME-00001-of-00003.gguf`.

use crate::error::{Error, Result};
use crate::mapped::plain;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A part's name, taken apart: the bytes before its number, its number from 1 on, and how many there are. Names of files
/// need not be UTF-8.
struct Part<'a> {
    stem: &'a [u8],
    number: u32,
    of: u32,
}

impl<'a> Part<'a> {
    fn of(name: &'a OsStr) -> Option<Self> {
        let name = name.as_encoded_bytes();
        let at = name.len().checked_sub("-00001-of-00003.gguf".len())?;
        let (stem, rest) = name.split_at(at);
        let text = std::str::from_utf8(rest).ok()?;
        let (number, of) = text.strip_prefix('-')?.strip_suffix(".gguf")?.split_once("-of-")?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(number) || !digits(of) {
            return None;
        }
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        (1..=of).contains(&number).then_some(Self { stem, number, of })
    }
}

/// True if the file name is that of a part of a split GGUF file.
pub(crate) fn is_part(path: &Path) -> bool {
    path.file_name().and_then(Part::of).is_some()
}

/// True if the files are parts of one split GGUF file.
pub(crate) fn are_parts(paths: &[PathBuf]) -> bool {
    let of = |path: &'_ PathBuf| path.file_name().and_then(Part::of).map(|part| (part.stem.to_vec(), part.of));
    let first = paths.first().and_then(of);
    first.is_some() && paths.iter().all(|path| of(path) == first)
}

/// The files of the model of which `path` is a part, in their order; `path` alone if it is whole.
///
/// # Errors
/// `File`, naming the part that is missing.
pub(crate) fn parts(path: &Path) -> Result<Vec<PathBuf>> {
    let Some(part) = path.file_name().and_then(Part::of) else { return Ok(vec![path.into()]) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, plain(&e)))?;
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let other = Part::of(&name).filter(|other| other.stem == part.stem && other.of == part.of);
        found.extend(other.map(|other| (other.number, path.with_file_name(&name))));
    }
    found.sort_unstable();
    let missing = (1..=part.of).zip(found.iter().map(|(number, _)| *number).chain([0])).find(|(want, got)| want != got);
    match missing {
        Some((number, _)) => {
            let stem = String::from_utf8_lossy(part.stem);
            let name = format!("{stem}-{number:05}-of-{:05}.gguf", part.of);
            let reason = format!("no such file: it is part {number} of {} of a split model, download it", part.of);
            Err(Error::file(&path.with_file_name(name), reason))
        }
        None => Ok(found.into_iter().map(|(_, path)| path).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        for name in ["m-00001-of-00003.gguf", "a-b-00003-of-00003.gguf"] {
            assert!(is_part(Path::new(name)), "{name}");
        }
        for name in ["m.gguf", "m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-0001-of-0003.gguf", "-of-.gguf"] {
            assert!(!is_part(Path::new(name)), "{name}");
        }
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert!(are_parts(&paths(&["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"])));
        assert!(!are_parts(&paths(&["m-00001-of-00002.gguf", "n-00002-of-00002.gguf"])));
    }
}
