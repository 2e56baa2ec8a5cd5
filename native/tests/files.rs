//! Files as people have them: each that is no model gets an error that says what it is and what to do.

#[allow(dead_code)]
mod support;

use std::path::{Path, PathBuf};

/// The message for a path.
fn refused(path: &Path) -> String {
    match foveate::open(path) {
        Ok(_) => panic!("{} opens", path.display()),
        Err(error) => error.to_string(),
    }
}

const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n";
const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head></head><body>Not found</body></html>";

#[test]
fn files_that_are_no_model_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes, words) in [
        ("empty.gguf", &b""[..], &["empty.gguf", "empty", "download"][..]),
        ("empty.safetensors", b"", &["empty"]),
        ("pointer.gguf", POINTER, &["git-lfs pointer", "git lfs pull"]),
        ("pointer.safetensors", POINTER, &["git-lfs pointer"]),
        ("page.gguf", PAGE, &["web page", "/resolve/"]),
        ("page", PAGE, &["web page"]),
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0{\"a\": 1}        ", &["weights alone", "config.json"]),
        ("pytorch_model.bin", b"PK\x03\x04\0\0", &["zip archive", "safetensors"]),
        ("consolidated.pt", b"\x80\x02}q\0.", &["pickle", "safetensors"]),
        ("old.bin", b"tjgg\x03\0\0\0", &["before GGUF"]),
        ("config.json", b"{}", &["name the folder"]),
        ("notes.txt", b"hello", &["no GGUF file"]),
        ("weights.gguf", b"\x10\0\0\0\0\0\0\0{\"a\": 1}        ", &["weights alone", "config.json"]),
        ("missing.gguf", b"Entry not found", &["error message of the hub", "check the link"]),
        ("gated.gguf", b"{\"error\":\"Invalid username or password.\"}", &["error message of the hub"]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        let message = refused(&path);
        assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
        assert!(!message.contains('\n'), "{message}");
        std::fs::remove_file(&path).expect("it was there");
    }
    // Neither a file nor a folder; a pipe would wait for its writer.
    #[cfg(unix)]
    assert!(refused(Path::new("/dev/null")).contains("no regular file"));
}

#[test]
fn folders_that_are_no_model_say_what_is_missing() {
    let empty_config = || ("config.json", &br#"{"model_type":"llama"}"#[..]);
    for (files, words) in [
        (vec![], &["no config.json", ".gguf"][..]),
        (vec![("adapter_config.json", &b"{}"[..])], &["adapter", "--lora"]),
        (vec![("a.gguf", b"GGUF"), ("b.gguf", b"GGUF")], &["2 .gguf files", "a.gguf", "name one"]),
        (vec![empty_config()], &["model.safetensors"]),
        (vec![empty_config(), ("pytorch_model.bin", b"PK")], &["pickles", "pytorch_model.bin", "safetensors"]),
        (vec![("config.json", POINTER)], &["config.json", "git-lfs"]),
        (vec![("config.json", b"")], &["config.json", "empty"]),
        (vec![empty_config(), ("model.safetensors", POINTER)], &["model.safetensors", "git-lfs"]),
        (vec![empty_config(), ("model.safetensors", b"")], &["model.safetensors", "empty"]),
        (
            vec![empty_config(), ("model.safetensors.index.json", br#"{"weight_map":{"a":"model-1.safetensors"}}"#)],
            &["model-1.safetensors", "no such file", "index"],
        ),
        (vec![empty_config(), ("a.safetensors", b"x"), ("b.safetensors", b"x")], &["2 .safetensors files", "index"]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in &files {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let message = refused(folder.path());
        assert!(words.iter().all(|word| message.contains(word)), "{files:?}: {message}");
    }
}

/// A copy of golden files, or `None` where this machine has not got them.
fn copy(from: &str, names: &[&str]) -> Option<(tempfile::TempDir, PathBuf)> {
    let from = support::golden()?.join(from);
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        std::fs::copy(from.join(name), folder.path().join(name)).expect("a copy");
    }
    let path = folder.path().to_path_buf();
    Some((folder, path))
}

const PARTS: [&str; 3] = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];

#[test]
fn a_split_model_opens_by_any_part_and_by_its_folder() {
    let Some((_folder, path)) = copy("reports/gguf-split", &PARTS) else { return };
    for part in PARTS {
        let files = foveate::open(path.join(part)).unwrap_or_else(|error| panic!("{part}: {error}"));
        assert_eq!(files.weights.names().len(), 21);
    }
    assert_eq!(foveate::open(&path).expect("a folder of parts").weights.names().len(), 21);
    std::fs::remove_file(path.join(PARTS[1])).expect("it was there");
    for from in [path.join(PARTS[0]), path.join(PARTS[1]), path.clone()] {
        let message = refused(&from);
        assert!(message.contains(PARTS[1]) && message.contains("no such file"), "{message}");
    }
    // Under another name it says itself that it is a part.
    std::fs::rename(path.join(PARTS[0]), path.join("renamed.gguf")).expect("a name");
    let message = refused(&path.join("renamed.gguf"));
    assert!(message.contains("one of 3 parts"), "{message}");
}

#[test]
fn whole_weights_win_over_a_stale_index() {
    let Some((_folder, path)) = copy("families/llama", &["config.json", "model.safetensors"]) else { return };
    let index = br#"{"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors"}}"#;
    std::fs::write(path.join("model.safetensors.index.json"), index).expect("a file");
    let files = foveate::open(&path).expect("whole weights");
    // Without a tokenizer it runs on ids, and says what is missing when it is to read text.
    let device = foveate::device(foveate::Device::Cpu).expect("a processor");
    let model = foveate::wait(foveate::model::Model::load(device, files, &mut |_| Ok(()))).expect("a model");
    let message = model.tokenizer().expect_err("it has none").to_string();
    assert!(message.contains("tokenizer.json") && message.contains("save_pretrained"), "{message}");
}

#[cfg(unix)]
#[test]
fn names_of_files_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let Some((_folder, path)) = copy("reports/gguf-split", &PARTS) else { return };
    for part in PARTS {
        let name = [b"caf\xe9", &part.as_bytes()[1..]].concat();
        std::fs::rename(path.join(part), path.join(std::ffi::OsStr::from_bytes(&name))).expect("a name");
    }
    let name = [b"caf\xe9", &PARTS[1].as_bytes()[1..]].concat();
    let files = foveate::open(path.join(std::ffi::OsStr::from_bytes(&name))).expect("parts of a name that is no UTF-8");
    assert_eq!(files.weights.names().len(), 21);
    assert!(foveate::open(std::ffi::OsStr::from_bytes(b"caf\xe9.gguf")).is_err());
}
