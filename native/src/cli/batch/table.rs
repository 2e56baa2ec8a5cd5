//! Parquet files: rows as objects of JSON, and results as columns.

use foveate::{Error, Result};
use parquet::basic::{Compression, ConvertedType, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::reader::RowIter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes that a Parquet file begins with.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// A Parquet file of rows.
pub(super) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = File::open(path).map_err(|error| super::file(path, error))?;
        let reader = guarded(path, || SerializedFileReader::new(opened).map_err(|error| damaged(path, &error)))?;
        Ok(Self { path: path.into(), reader })
    }

    pub(super) fn rows(&self) -> u64 {
        u64::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Returns whether the column `id` has whole numbers that an `INT64` holds.
    pub(super) fn numbered(&self) -> bool {
        let columns = self.reader.metadata().file_metadata().schema_descr().columns();
        columns.iter().any(|column| {
            let whole = matches!(column.physical_type(), Physical::INT32 | Physical::INT64);
            let signed = [ConvertedType::NONE, ConvertedType::INT_8, ConvertedType::INT_16, ConvertedType::INT_32];
            let plain = signed.contains(&column.converted_type()) || column.converted_type() == ConvertedType::INT_64;
            column.path().string() == "id" && whole && plain
        })
    }

    /// Returns `rows` rows behind the first `first`, as objects of JSON. Row groups in front of them are not decoded.
    pub(super) fn read(&self, first: u64, rows: u64) -> Result<Vec<Value>> {
        guarded(&self.path, || self.decode(first, rows))
    }

    fn decode(&self, first: u64, rows: u64) -> Result<Vec<Value>> {
        let wrong = |error: ParquetError| damaged(&self.path, &error);
        let (mut found, mut skip) = (Vec::new(), first);
        for group in 0..self.reader.num_row_groups() {
            let left = (rows as usize).saturating_sub(found.len());
            let reader = self.reader.get_row_group(group).map_err(wrong)?;
            let count = u64::try_from(reader.metadata().num_rows()).unwrap_or(0);
            if left == 0 || skip >= count {
                skip = skip.saturating_sub(count);
                continue;
            }
            for row in RowIter::from_row_group(None, &*reader).map_err(wrong)?.skip(skip as usize).take(left) {
                found.push(row.map_err(wrong)?.to_json_value());
            }
            skip = 0;
        }
        match found.len() as u64 == rows {
            true => Ok(found),
            false => Err(Error::File { path: self.path.display().to_string(), reason: "it has lost rows".into() }),
        }
    }
}

fn damaged(path: &Path, error: &ParquetError) -> Error {
    Error::File { path: path.display().to_string(), reason: format!("it is damaged: {error}") }
}

/// Runs the library on what a stranger's file says: it panics on some contradictions that it does not look for.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let damaged = |_| {
        let reason = "it is damaged: its parts contradict each other; write it again".into();
        Err(Error::File { path: path.display().to_string(), reason })
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(damaged)
}

/// The type of a column of results.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Whole,
    Double,
    /// A list of 32-bit numbers.
    Vector,
}

/// A column of results: its name, where a row of JSON has it (as a JSON pointer), and its type.
pub(super) type Column = (&'static str, &'static str, Kind);

/// Writes rows of JSON as the bytes of a Parquet file, in one row group.
///
/// # Errors
/// The crate `parquet` refuses the schema or a value.
pub(super) fn write(rows: &[Value], columns: &[Column]) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(|(name, _, kind)| match kind {
        Kind::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
        Kind::Whole => format!("OPTIONAL INT64 {name};"),
        Kind::Double => format!("OPTIONAL DOUBLE {name};"),
        Kind::Vector => {
            format!("OPTIONAL group {name} (LIST) {{ REPEATED group list {{ REQUIRED FLOAT element; }} }}")
        }
    });
    let schema = parse_message_type(&format!("message results {{ {} }}", fields.collect::<String>()))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (_, pointer, kind) in columns {
        let values: Vec<Option<&Value>> =
            rows.iter().map(|row| row.pointer(pointer).filter(|x| !x.is_null())).collect();
        let Some(mut column) = group.next_column()? else { break };
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(typed) => {
                let (values, levels) = present(&values, text);
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::Int64ColumnWriter(typed) => {
                let (values, levels) = present(&values, Value::as_i64);
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::DoubleColumnWriter(typed) => {
                let (values, levels) = present(&values, Value::as_f64);
                typed.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::FloatColumnWriter(typed) => {
                let (values, definitions, repetitions) = lists(&values);
                typed.write_batch(&values, Some(&definitions), Some(&repetitions))?;
            }
            _ => unreachable!("{kind:?} has a writer of its own"),
        }
        column.close()?;
    }
    group.close()?;
    writer.into_inner()
}

/// A text as it is, and the JSON of other values.
fn text(value: &Value) -> Option<ByteArray> {
    Some(value.as_str().map_or_else(|| value.to_string().into_bytes().into(), ByteArray::from))
}

/// The values that are there, and the definition level of each row: 1 where there is one.
fn present<T>(values: &[Option<&Value>], of: impl Fn(&Value) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let values: Vec<Option<T>> = values.iter().map(|value| value.and_then(&of)).collect();
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    (values.into_iter().flatten().collect(), levels)
}

/// The elements of lists, with a definition level (0 without a list, 1 for an empty one, 2 for an element) and a repetition
/// level (0 where a row begins) each.
fn lists(values: &[Option<&Value>]) -> (Vec<f32>, Vec<i16>, Vec<i16>) {
    let (mut elements, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for list in values.iter().map(|value| value.and_then(Value::as_array)) {
        let list = list.map(|list| list.iter().filter_map(Value::as_f64).map(|x| x as f32).collect::<Vec<_>>());
        let begun = repetitions.len();
        definitions.extend(list.iter().flatten().map(|_| 2));
        if list.as_ref().is_none_or(Vec::is_empty) {
            definitions.push(i16::from(list.is_some()));
        }
        repetitions.resize(definitions.len(), 1);
        repetitions[begun] = 0;
        elements.extend(list.into_iter().flatten());
    }
    (elements, definitions, repetitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate::kernels::rng::Rng;
    use serde_json::json;

    /// Four rows with each kind of column, and what is read of them.
    fn sample() -> (Vec<u8>, [Value; 4]) {
        let columns = [
            ("id", "/id", Kind::Whole),
            ("text", "/text", Kind::Text),
            ("loss", "/scores/loss", Kind::Double),
            ("vector", "/vector", Kind::Vector),
        ];
        let rows = [
            json!({"id": 7, "text": "a\nb", "scores": {"loss": 0.25}, "vector": [1.0, -0.5]}),
            json!({"id": null, "text": null, "vector": []}),
            json!({"id": -1, "text": ["x"], "scores": {"loss": null}, "vector": null}),
            json!({"id": 9, "vector": [3.0]}),
        ];
        let expected = [
            json!({"id": 7, "text": "a\nb", "loss": 0.25, "vector": [1.0, -0.5]}),
            json!({"id": null, "text": null, "loss": null, "vector": []}),
            json!({"id": -1, "text": "[\"x\"]", "loss": null, "vector": null}),
            json!({"id": 9, "text": null, "loss": null, "vector": [3.0]}),
        ];
        (write(&rows, &columns).expect("a table"), expected)
    }

    #[test]
    fn tables_are_read_as_they_were_written() {
        let (bytes, expected) = sample();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.parquet");
        std::fs::write(&path, bytes).expect("a file");
        let table = Table::open(&path).expect("a table");
        assert_eq!(table.rows(), 4);
        assert!(table.numbered());
        assert_eq!(table.read(0, 4).expect("rows"), expected);
        assert_eq!(table.read(2, 1).expect("rows"), expected[2..3]);
        let lost = table.read(3, 2).map(|_| ()).expect_err("no such rows").to_string();
        assert!(lost.contains("table.parquet"), "{lost}");
    }

    #[test]
    fn damaged_tables_are_read_or_refused_by_name() {
        let (sound, _) = sample();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.parquet");
        let mut refused = 0;
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let mut bytes = sound.clone();
            for _ in 0..=rng.below(5) {
                let at = rng.below(bytes.len() as u32) as usize;
                match rng.below(4) {
                    0 => bytes[at] ^= 1 << rng.below(8),
                    1 => bytes[at] = [0, 0x7f, 0x80, 0xff][rng.below(4) as usize],
                    2 => drop(bytes.drain(at..(at + rng.below(8) as usize).min(bytes.len()))),
                    _ => bytes.insert(at, rng.next_u64() as u8),
                }
            }
            std::fs::write(&path, &bytes).expect("a file");
            let read = Table::open(&path).and_then(|table| {
                // A damaged header may speak of any number of rows.
                let rows = table.rows().min(100);
                Ok((rows, table.read(0, rows)?.len() as u64))
            });
            match read {
                Ok((rows, read)) => assert_eq!(rows, read, "seed {seed}"),
                Err(error) => {
                    refused += 1;
                    let error = error.to_string();
                    assert!(error.contains("table.parquet") && !error.contains('\n'), "seed {seed}: {error}");
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}
