//! Files of rows: JSON lines, or Parquet.

use super::file;
use super::table::{MAGIC, Table};
use foveate::Result;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// An input, as its first bytes tell.
pub(super) enum Input {
    Lines(PathBuf),
    Table(Table),
}

/// A row as it stands in an input.
pub(super) enum Raw {
    Line(Vec<u8>),
    Object(Value),
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut head = Vec::new();
        let opened = File::open(path).map_err(|error| file(path, error))?;
        opened.take(MAGIC.len() as u64).read_to_end(&mut head).map_err(|error| file(path, error))?;
        match head == MAGIC {
            true => Ok(Self::Table(Table::open(path)?)),
            false => Ok(Self::Lines(path.into())),
        }
    }

    /// The number of rows, empty lines left out.
    pub(super) fn rows(&self) -> Result<u64> {
        let path = match self {
            Self::Table(table) => return Ok(table.rows()),
            Self::Lines(path) => path,
        };
        let mut count = 0;
        for line in lines(path)? {
            let (_, line) = line.map_err(|error| file(path, error))?;
            count += u64::from(!line.is_empty());
        }
        Ok(count)
    }

    /// Returns `rows` rows behind the first `first`, with their numbers in the file, which begin at 1. Numbers of lines count
    /// empty ones.
    pub(super) fn read(&self, first: u64, rows: u64) -> Result<Vec<(usize, Raw)>> {
        let path = match self {
            Self::Table(table) => {
                let found = table.read(first, rows)?.into_iter().zip(first as usize + 1..);
                return Ok(found.map(|(row, at)| (at, Raw::Object(row))).collect());
            }
            Self::Lines(path) => path,
        };
        let filled = lines(path)?.filter(|line| line.as_ref().map_or(true, |(_, line)| !line.is_empty()));
        let chosen = filled.skip(first as usize).take(rows as usize);
        chosen.map(|line| line.map(|(at, line)| (at, Raw::Line(line))).map_err(|error| file(path, error))).collect()
    }

    /// The field of an error that has the number of its row.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Lines(_) => "line",
            Self::Table(_) => "row",
        }
    }
}

/// The lines of a file without white space around them, with their numbers.
fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<(usize, Vec<u8>)>>> {
    let opened = File::open(path).map_err(|error| file(path, error))?;
    let numbered = BufReader::new(opened).split(b'\n').enumerate();
    Ok(numbered.map(|(at, line)| line.map(|line| (at + 1, line.trim_ascii().to_vec()))))
}
