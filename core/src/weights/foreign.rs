//! Names the format of a file whose content is not what its name says.

/// Beginnings of files, and what to say of them.
const KINDS: &[(&[u8], &str)] = &[
    (
        b"version https://git-lfs.github.com",
        "it is a git-lfs pointer, not the file itself: fetch the file with `git lfs pull`, or download it",
    ),
    (b"<!DOCTYPE html", HTML),
    (b"<!doctype html", HTML),
    (b"<html", HTML),
    (b"<HTML", HTML),
    (b"<?xml", HTML),
    (b"Entry not found", REFUSAL),
    (b"Invalid username or password", REFUSAL),
    (b"Access to model ", REFUSAL),
    (b"Repository not found", REFUSAL),
    (b"Unauthorized", REFUSAL),
    (b"{\"error\"", REFUSAL),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"PK\x03\x04", "it is a zip archive, as PyTorch saves pickles: open safetensors or GGUF instead"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it first"),
    (b"tjgg", OLD),
    (b"lmgg", OLD),
    (b"fmgg", OLD),
    (b"algg", OLD),
    (b"GGUF", "it is a GGUF file: name it ending in .gguf and open it by itself"),
    (b"\x89HDF", "it is an HDF5 file, which is not read: open safetensors or GGUF instead"),
];

const HTML: &str =
    "it is a web page, not the file itself: download the file again, from the hub by a link with /resolve/";
const REFUSAL: &str =
    "it is an error message of the hub, not the file itself: check the link, and that your account may read the model";
const PICKLE: &str =
    "it is a pickle of PyTorch, which can run programs and is not read: open safetensors or GGUF instead";
const OLD: &str = "it is of the format before GGUF, which is not read: download a GGUF file of the model";

/// Says what a file is that begins with `head`, and what to do, if it is one of those that are often found in the place of
/// another.
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let head = head.trim_ascii_start();
    if head.is_empty() {
        return Some("it is empty: download it again");
    }
    KINDS.iter().find(|(begins, _)| head.starts_with(begins)).map(|(_, says)| *says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_the_place_of_others_are_named() {
        for (head, word) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"\x80\x02}q\x00", "pickle"),
            (b"PK\x03\x04....", "zip"),
            (b"tjgg\x03\0\0\0", "before GGUF"),
            (b"Entry not found", "error message of the hub"),
            (b"{\"error\":\"Invalid username or password.\"}", "error message of the hub"),
        ] {
            assert!(foreign(head).is_some_and(|says| says.contains(word)), "{word}");
        }
        assert_eq!(foreign(b"{\"a\": 1}"), None);
        assert_eq!(foreign(&100u64.to_le_bytes()), None);
    }
}
