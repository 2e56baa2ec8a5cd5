//! The typed key-value pairs of a GGUF file.

use std::collections::BTreeMap;

use super::cursor::{Cursor, Stop};
use crate::error::one_line;

/// Arrays of arrays of arrays occur in no file; more than this is an attack on the stack.
const MAX_DEPTH: u32 = 4;

/// One value.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A `UINT8`.
    U8(u8),
    /// An `INT8`.
    I8(i8),
    /// A `UINT16`.
    U16(u16),
    /// An `INT16`.
    I16(i16),
    /// A `UINT32`.
    U32(u32),
    /// An `INT32`.
    I32(i32),
    /// A `FLOAT32`.
    F32(f32),
    /// A `BOOL`.
    Bool(bool),
    /// A `STRING`.
    String(Box<str>),
    /// An `ARRAY`.
    Array(Array),
    /// A `UINT64`.
    U64(u64),
    /// An `INT64`.
    I64(i64),
    /// A `FLOAT64`.
    F64(f64),
}

/// An array; all its elements have one type.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Array {
    /// Of `UINT8`.
    U8(Vec<u8>),
    /// Of `INT8`.
    I8(Vec<i8>),
    /// Of `UINT16`.
    U16(Vec<u16>),
    /// Of `INT16`.
    I16(Vec<i16>),
    /// Of `UINT32`.
    U32(Vec<u32>),
    /// Of `INT32`.
    I32(Vec<i32>),
    /// Of `FLOAT32`.
    F32(Vec<f32>),
    /// Of `BOOL`.
    Bool(Vec<bool>),
    /// Of `STRING`.
    String(Strings),
    /// Of `ARRAY`.
    Array(Vec<Array>),
    /// Of `UINT64`.
    U64(Vec<u64>),
    /// Of `INT64`.
    I64(Vec<i64>),
    /// Of `FLOAT64`.
    F64(Vec<f64>),
}

/// Many short strings in one allocation: a vocabulary has a quarter of a million of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Strings {
    text: String,
    /// End offset of each string in `text`. A header is below 4 GiB.
    ends: Vec<u32>,
}

impl Strings {
    /// Returns the number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String `index`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }

    /// Returns the strings, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    fn push(&mut self, string: &str) {
        self.text.push_str(string);
        self.ends.push(self.text.len() as u32);
    }
}

impl<S: AsRef<str>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut all = Strings::default();
        strings.into_iter().for_each(|string| all.push(string.as_ref()));
        all
    }
}

/// The value types of GGUF metadata.
#[derive(Clone, Copy)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// In the order of their numbers in the file.
    const ALL: [Kind; 13] = [
        Kind::U8,
        Kind::I8,
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::String,
        Kind::Array,
        Kind::U64,
        Kind::I64,
        Kind::F64,
    ];

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let number = cursor.u32()?;
        let kind = usize::try_from(number).ok().and_then(|number| Kind::ALL.get(number));
        kind.copied().ok_or_else(|| Stop::Bad(format!("metadata type {number} does not exist")))
    }
}

impl Value {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        Ok(match Kind::parse(cursor)? {
            Kind::U8 => Value::U8(cursor.u8()?),
            Kind::I8 => Value::I8(cursor.u8()? as i8),
            Kind::U16 => Value::U16(cursor.u16()?),
            Kind::I16 => Value::I16(cursor.u16()? as i16),
            Kind::U32 => Value::U32(cursor.u32()?),
            Kind::I32 => Value::I32(cursor.u32()? as i32),
            Kind::F32 => Value::F32(f32::from_bits(cursor.u32()?)),
            Kind::Bool => Value::Bool(bool_of(cursor.u8()?)?),
            Kind::String => Value::String(cursor.str()?.into()),
            Kind::Array => Value::Array(Array::parse(cursor, 1)?),
            Kind::U64 => Value::U64(cursor.u64()?),
            Kind::I64 => Value::I64(cursor.u64()? as i64),
            Kind::F64 => Value::F64(f64::from_bits(cursor.u64()?)),
        })
    }

    /// An integer of any width that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U64(value) => Some(value),
            _ => u64::try_from(self.as_i64()?).ok(),
        }
    }

    /// An integer of any width that fits.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Value::U8(value) => value.into(),
            Value::I8(value) => value.into(),
            Value::U16(value) => value.into(),
            Value::I16(value) => value.into(),
            Value::U32(value) => value.into(),
            Value::I32(value) => value.into(),
            Value::U64(value) => value.try_into().ok()?,
            Value::I64(value) => value,
            _ => return None,
        })
    }

    /// A number of either floating-point width.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(value) => Some(value.into()),
            Value::F64(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value of a `BOOL`.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value of a `STRING`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value of an `ARRAY`.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(value) => Some(value),
            _ => None,
        }
    }
}

fn bool_of(byte: u8) -> Result<bool, Stop> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Stop::Bad(format!("a truth value of {byte}"))),
    }
}

impl Array {
    fn parse(cursor: &mut Cursor<'_>, depth: u32) -> Result<Self, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Bad(format!("arrays are nested deeper than {MAX_DEPTH}")));
        }
        let kind = Kind::parse(cursor)?;
        let count = cursor.u64()?;
        Ok(match kind {
            Kind::U8 => Array::U8(cursor.elements(count, u8::from_le_bytes)?),
            Kind::I8 => Array::I8(cursor.elements(count, i8::from_le_bytes)?),
            Kind::U16 => Array::U16(cursor.elements(count, u16::from_le_bytes)?),
            Kind::I16 => Array::I16(cursor.elements(count, i16::from_le_bytes)?),
            Kind::U32 => Array::U32(cursor.elements(count, u32::from_le_bytes)?),
            Kind::I32 => Array::I32(cursor.elements(count, i32::from_le_bytes)?),
            Kind::F32 => Array::F32(cursor.elements(count, f32::from_le_bytes)?),
            Kind::U64 => Array::U64(cursor.elements(count, u64::from_le_bytes)?),
            Kind::I64 => Array::I64(cursor.elements(count, i64::from_le_bytes)?),
            Kind::F64 => Array::F64(cursor.elements(count, f64::from_le_bytes)?),
            Kind::Bool => {
                let bytes = cursor.elements(count, u8::from_le_bytes)?;
                Array::Bool(bytes.into_iter().map(bool_of).collect::<Result<_, _>>()?)
            }
            Kind::String => {
                cursor.expect_room(count, 8, "strings")?;
                let mut strings = Strings::default();
                for _ in 0..count {
                    strings.push(cursor.str()?);
                }
                Array::String(strings)
            }
            Kind::Array => {
                cursor.expect_room(count, 4 + 8, "arrays")?;
                let mut arrays = Vec::new();
                for _ in 0..count {
                    arrays.push(Array::parse(cursor, depth + 1)?);
                }
                Array::Array(arrays)
            }
        })
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(values) => values.len(),
            Array::I8(values) => values.len(),
            Array::U16(values) => values.len(),
            Array::I16(values) => values.len(),
            Array::U32(values) => values.len(),
            Array::I32(values) => values.len(),
            Array::F32(values) => values.len(),
            Array::Bool(values) => values.len(),
            Array::String(values) => values.len(),
            Array::Array(values) => values.len(),
            Array::U64(values) => values.len(),
            Array::I64(values) => values.len(),
            Array::F64(values) => values.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Integer `index` of an array of integers of any width; `None` past the end, for one that does not fit, and for
    /// arrays of other things.
    pub fn integer(&self, index: usize) -> Option<i64> {
        match self {
            Array::U8(values) => values.get(index).copied().map(i64::from),
            Array::I8(values) => values.get(index).copied().map(i64::from),
            Array::U16(values) => values.get(index).copied().map(i64::from),
            Array::I16(values) => values.get(index).copied().map(i64::from),
            Array::U32(values) => values.get(index).copied().map(i64::from),
            Array::I32(values) => values.get(index).copied().map(i64::from),
            Array::U64(values) => values.get(index).and_then(|&value| value.try_into().ok()),
            Array::I64(values) => values.get(index).copied(),
            _ => None,
        }
    }
}

/// The metadata of a file, by key.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Metadata {
    values: BTreeMap<Box<str>, Value>,
}

impl Metadata {
    pub(super) fn parse(cursor: &mut Cursor<'_>, count: u64) -> Result<Self, Stop> {
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = cursor.name("metadata key")?;
            let value = Value::parse(cursor)?;
            if values.insert(key.into(), value).is_some() {
                return Err(Stop::Bad(format!("metadata key {} occurs twice", one_line(key))));
            }
        }
        Ok(Metadata { values })
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The integer under `key`, if there is one and it is not negative.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The floating-point number under `key`, if there is one.
    pub fn f64(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// The truth value under `key`, if there is one.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The string under `key`, if there is one.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The array under `key`, if there is one.
    pub fn array(&self, key: &str) -> Option<&Array> {
        self.get(key)?.as_array()
    }

    /// The array of strings under `key`, if there is one.
    pub fn strings(&self, key: &str) -> Option<&Strings> {
        match self.array(key)? {
            Array::String(strings) => Some(strings),
            _ => None,
        }
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (&**key, value))
    }
}

impl<K: Into<Box<str>>> FromIterator<(K, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        Metadata { values: entries.into_iter().map(|(key, value)| (key.into(), value)).collect() }
    }
}
