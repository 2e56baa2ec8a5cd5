//! Bounded reading from the first bytes of a file.

use crate::error::one_line;

/// The largest header that is read, in bytes; vocabularies of 256k tokens take about 16 MiB.
const MAX_HEADER: u64 = 256 << 20;

/// The longest key or tensor name, in bytes (the format's own limit for keys).
const MAX_NAME: u64 = 65_535;

/// Why parsing went no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes at hand end, the file does not: it must be read at least up to this offset.
    Need(u64),
    /// The file is damaged.
    Bad(String),
}

/// A position in the first `bytes` of a file of `size` bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    size: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], size: u64) -> Self {
        Cursor { bytes, at: 0, size }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// Refuses a count whose items, of at least `least` bytes each, can't all be in the header.
    pub(super) fn expect_room(&self, count: u64, least: u64, what: &str) -> Result<(), Stop> {
        let room = self.size.min(MAX_HEADER).saturating_sub(self.position());
        match count.checked_mul(least) {
            Some(bytes) if bytes <= room => Ok(()),
            _ => Err(Stop::Bad(format!("it announces {count} {what} and has {room} bytes for them"))),
        }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        let end = self.position().checked_add(len).filter(|&end| end <= self.size).ok_or_else(|| {
            Stop::Bad(format!("its header ends at {} within {len} bytes from {} on", self.size, self.at))
        })?;
        if end > MAX_HEADER {
            return Err(Stop::Bad(format!("its header is longer than {MAX_HEADER} bytes")));
        }
        // Below MAX_HEADER, so that it fits usize everywhere.
        let bytes = self.bytes.get(self.at..end as usize).ok_or(Stop::Need(end))?;
        self.at = end as usize;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    /// `count` elements of `N` bytes each.
    pub(super) fn elements<const N: usize, T>(&mut self, count: u64, read: fn([u8; N]) -> T) -> Result<Vec<T>, Stop> {
        self.expect_room(count, N as u64, "array elements")?;
        let (elements, _) = self.take(count * N as u64)?.as_chunks::<N>();
        Ok(elements.iter().map(|&bytes| read(bytes)).collect())
    }

    /// A string: `u64` bytes, then UTF-8.
    pub(super) fn str(&mut self) -> Result<&'a str, Stop> {
        let len = self.u64()?;
        let at = self.at;
        std::str::from_utf8(self.take(len)?).map_err(|_| Stop::Bad(format!("the string at {at} is not UTF-8")))
    }

    /// A string that names something: not longer than the format allows.
    pub(super) fn name(&mut self, what: &str) -> Result<&'a str, Stop> {
        let name = self.str()?;
        if name.len() as u64 > MAX_NAME {
            return Err(Stop::Bad(format!("the {what} {} is longer than {MAX_NAME} bytes", one_line(name))));
        }
        Ok(name)
    }
}
