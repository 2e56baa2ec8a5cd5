//! One file over HTTP: resumed where it was cut, checked before it gets its name.

use crate::error::{Error, Result};
use crate::mapped::plain;
use crate::report::{Event, Report};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 4;

/// Tells nobody.
pub fn quiet(_: Event<'_>) {}

/// The expected checksum of a file, in lowercase hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// SHA-256 over the bytes.
    Sha256(String),
    /// Git's name of a blob: SHA-1 over `blob LENGTH\0` and the bytes.
    GitBlob(String),
}

impl Checksum {
    fn expected(&self) -> &str {
        match self {
            Checksum::Sha256(hex) | Checksum::GitBlob(hex) => hex,
        }
    }

    fn of(&self, file: &mut File) -> std::io::Result<String> {
        let bytes = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        match self {
            Checksum::Sha256(_) => digest(Sha256::new(), file),
            Checksum::GitBlob(_) => digest(sha1::Sha1::new().chain_update(format!("blob {bytes}\0")), file),
        }
    }
}

fn digest<D: Digest>(mut hash: D, file: &mut File) -> std::io::Result<String> {
    let mut window = vec![0; 1 << 20];
    loop {
        match file.read(&mut window)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&window[..n]),
        }
    }
}

/// The client: connections that don't come about fail within seconds.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_resolve(Some(Duration::from_secs(4)))
        .timeout_connect(Some(Duration::from_secs(4)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .user_agent(concat!("foveate/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .build()
        .into()
}

/// A GET request, with the user's token of the hub if there is one; it does not follow to other hosts.
pub(crate) fn get(agent: &ureq::Agent, url: &str, from: u64) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    let mut request = agent.get(url);
    if let Some(token) = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()) {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if from > 0 {
        request = request.header("range", format!("bytes={from}-"));
    }
    request.call()
}

/// Fetches `url` to `path`, by way of `path.part`, which a later call goes on from. A file that is at `path` already was
/// checked when it came there.
///
/// # Errors
/// `Download` if the server does not give the file, `Checksum` if it gives another one, `File` if it can't be kept.
pub fn fetch(
    url: &str,
    path: &Path,
    bytes: Option<u64>,
    checksum: Option<&Checksum>,
    report: Report<'_>,
) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut part = Part::open(path)?;
    if path.exists() {
        // Another process was at it, and what is locked here is its finished file or an empty new one.
        let _ = std::fs::remove_file(&part.path);
        return Ok(());
    }
    let what = part.name.clone();
    report(Event::Begin { what: &what, bytes });
    // Bytes without a checksum can't be told from those of an older file.
    if checksum.is_none() {
        part.keep(0)?;
    }
    let resumed = part.len()? > 0;
    part.fill(url, bytes, report)?;
    match part.check(checksum) {
        // What was there before may have been of another version: once more, from the beginning.
        Err(Error::Checksum { .. }) if resumed => {
            part.keep(0)?;
            part.fill(url, bytes, report)?;
            part.check(checksum)?;
        }
        other => other?,
    }
    report(Event::End);
    part.finish(path)
}

/// A file on its way: `NAME.part` beside its place, locked against other processes.
pub(crate) struct Part {
    name: String,
    path: PathBuf,
    file: File,
}

impl Part {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, plain(&e)))?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&part);
        let file = file.and_then(|file| file.lock().map(|()| file)).map_err(|e| Error::file(&part, plain(&e)))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, path: part, file })
    }

    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| self.wrong(&e))
    }

    /// Forgets the bytes from `len` on.
    pub(crate) fn keep(&mut self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|e| self.wrong(&e))
    }

    fn wrong(&self, error: &std::io::Error) -> Error {
        Error::file(&self.path, plain(error))
    }

    /// Asks for what is missing until everything is here.
    fn fill(&mut self, url: &str, bytes: Option<u64>, report: Report<'_>) -> Result<()> {
        let agent = agent();
        let mut idle = 0;
        loop {
            let have = self.len()?;
            match bytes {
                Some(bytes) if have == bytes => return Ok(()),
                Some(bytes) if have > bytes => self.keep(0)?,
                _ => {}
            }
            match self.attempt(&agent, url, report) {
                Ok(()) => match bytes {
                    // The server counts otherwise than it announced: the size decides once more above.
                    Some(bytes) if self.len()? != bytes => idle += 1,
                    _ => return Ok(()),
                },
                Err(Cut::Final(error)) => return Err(error),
                Err(Cut::Again(reason)) => {
                    idle = if self.len()? > have { 0 } else { idle + 1 };
                    if idle >= ATTEMPTS {
                        return Err(Error::download(url, reason));
                    }
                }
            }
            if idle >= ATTEMPTS {
                return Err(Error::download(url, format!("{} bytes came, not {}", self.len()?, bytes.unwrap_or(0))));
            }
            // A server that refuses gets longer and longer pauses.
            std::thread::sleep(Duration::from_millis(100 << (2 * idle)));
        }
    }

    /// One request.
    fn attempt(&mut self, agent: &ureq::Agent, url: &str, report: Report<'_>) -> Result<(), Cut> {
        let mut have = self.len()?;
        let response = get(agent, url, have).map_err(|error| match error {
            // An address that does not exist will not exist in a second.
            ureq::Error::Io(_) | ureq::Error::Protocol(_) if have > 0 => Cut::Again(error.to_string()),
            error => Cut::Final(Error::download(url, error)),
        })?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        match response.status().as_u16() {
            206 => {
                let range = header("content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {have}-")) {
                    self.keep(0)?;
                    return Err(Cut::Again(format!("the server answered with the range {range:?}")));
                }
            }
            200 => {
                self.keep(0)?;
                have = 0;
            }
            416 => {
                self.keep(0)?;
                return Err(Cut::Again("the server has no such range".into()));
            }
            status @ (429 | 500..) => return Err(Cut::Again(format!("the server answered {status}"))),
            status => return Err(Cut::Final(Error::download(url, format!("the server answered {status}")))),
        }
        let expected = header("content-length").and_then(|n| n.parse::<u64>().ok()).map(|n| have + n);
        let mut body = response.into_body().into_reader();
        let mut window = vec![0; 1 << 16];
        loop {
            let n = match body.read(&mut window) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Cut::Again(error.to_string())),
            };
            self.write(&window[..n])?;
            have += n as u64;
            report(Event::At(have));
        }
        match expected {
            Some(expected) if expected != have => Err(Cut::Again(format!("it ended after {have} of {expected} bytes"))),
            _ => Ok(()),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| self.wrong(&e))
    }

    /// Refuses and throws away what is not the file that was published.
    pub(crate) fn check(&mut self, checksum: Option<&Checksum>) -> Result<()> {
        let Some(checksum) = checksum else { return Ok(()) };
        let got = checksum.of(&mut self.file).map_err(|e| self.wrong(&e))?;
        if got == checksum.expected() {
            return Ok(());
        }
        self.keep(0)?;
        Err(Error::Checksum { what: self.name.clone(), expected: checksum.expected().into(), got })
    }

    /// Gives the file its name, once its bytes are on the disk.
    pub(crate) fn finish(self, path: &Path) -> Result<()> {
        self.file.sync_all().map_err(|e| self.wrong(&e))?;
        std::fs::rename(&self.path, path).map_err(|e| self.wrong(&e))?;
        // The name itself is on the disk only when its folder is; where folders can't be opened, the system sees to it.
        if let Ok(folder) = File::open(path.parent().unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Why a request ended early.
enum Cut {
    /// Another one may go on.
    Again(String),
    Final(Error),
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Cut::Final(error)
    }
}
