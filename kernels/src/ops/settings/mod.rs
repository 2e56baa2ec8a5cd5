//! The settings of ops as data: each op's `spec.rs` holds one table of its fields and one of its arguments, from which the
//! command line, case files, the package's types, random specs of tests and the reference in docs/ops.md are made.
//!
//! A table is read from a [`Source`]: for every field in its order, the source is asked for a value and told the default,
//! which may depend on the fields before it.

mod error;
mod field;
mod macros;
mod render;
mod shapes;
mod text;

pub use error::SettingError;
pub use field::{Field, Range, Setting, Type, Value};
pub(crate) use macros::{named, settable, spec};

pub use render::{help, list, reference, typescript};
pub use shapes::{Argument, Form, Sizes, evaluate};
pub use text::{Text, nearest, parse};

use crate::ops::Op;
use alloc::{string::ToString, vec::Vec};

/// An op's settings and arguments as data.
#[non_exhaustive]
pub struct Table {
    /// The name of the op.
    pub op: &'static str,
    /// One line of documentation.
    pub summary: &'static str,
    /// The fields, in the order of the documentation.
    pub fields: &'static [Field],
    /// Every argument that some settings ask for, in the order in which they are bound.
    pub arguments: &'static [Argument],
    /// Further arguments `(x, dx)` that have the shape of the argument `x`.
    pub gradients: &'static [(&'static str, &'static str)],
    /// Defaults that differ from those of the table that the fields are from.
    pub defaults: &'static [(&'static str, Value)],
    pub(crate) build: fn(&mut Reader<'_>) -> Result<Op, SettingError>,
}

impl Table {
    /// Returns the field with this name or letter.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.is(name))
    }

    /// Reads the op from `source`, and returns it with the value of every field. The spec is not validated.
    ///
    /// # Errors
    /// Those of the source, and `Value` for a value of another type than the field's.
    pub fn read(&'static self, source: &mut dyn Source) -> Result<(Op, Vec<Known>), SettingError> {
        let mut reader = Reader { table: self, source, known: Vec::with_capacity(self.fields.len()) };
        let op = (self.build)(&mut reader)?;
        Ok((op, reader.known))
    }
}

/// A field with the value that it has.
pub type Known = (&'static Field, Value);

/// A field that a [`Source`] is asked for.
pub struct Request<'a> {
    /// The table of the op.
    pub table: &'static Table,
    /// The field that a value is asked for.
    pub field: &'static Field,
    /// The value of the field if the source has none.
    pub default: Value,
    /// The fields before it.
    pub known: &'a [Known],
}

impl Request<'_> {
    /// Returns the value of a field before this one.
    pub fn known(&self, name: &str) -> Option<Value> {
        value_of(self.known, name)
    }
}

/// Returns the value of the field with this name.
pub fn value_of(known: &[Known], name: &str) -> Option<Value> {
    known.iter().find(|(field, _)| field.name == name).map(|&(_, value)| value)
}

/// Gives values to the fields of a table.
pub trait Source {
    /// Returns the value of a field, or `None` for its default.
    ///
    /// # Errors
    /// Whatever is wrong with the value that was given.
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError>;
}

/// The source that leaves every field at its default.
pub struct Defaults;

impl Source for Defaults {
    fn value(&mut self, _: &Request<'_>) -> Result<Option<Value>, SettingError> {
        Ok(None)
    }
}

/// A walk through the fields of a table.
pub(crate) struct Reader<'a> {
    table: &'static Table,
    source: &'a mut dyn Source,
    known: Vec<Known>,
}

impl Reader<'_> {
    pub(crate) fn get<T: Setting>(&mut self, name: &'static str, default: T) -> Result<T, SettingError> {
        let (field, value) = self.value(name, default.value())?;
        T::of(value).ok_or_else(|| SettingError::Value {
            op: self.table.op,
            name: field.name.into(),
            expected: field.expected(),
            got: value.to_string(),
        })
    }

    #[inline(never)]
    fn value(&mut self, name: &'static str, default: Value) -> Result<Known, SettingError> {
        let table = self.table;
        let field = table.fields.iter().find(|field| field.name == name).expect("a table has the fields of its spec");
        let default = table.defaults.iter().find(|(other, _)| *other == name).map_or(default, |&(_, value)| value);
        let value = self.source.value(&Request { table, field, default, known: &self.known })?;
        self.known.push((field, value.unwrap_or(default)));
        Ok((field, value.unwrap_or(default)))
    }
}

/// Returns the table of the op with this name.
///
/// # Errors
/// `Op` if there is none.
pub fn table(name: &str) -> Result<&'static Table, SettingError> {
    let found = Op::TABLES.iter().copied().find(|table| table.op == name);
    found.ok_or_else(|| SettingError::Op { name: name.into(), nearest: nearest(name, Op::NAMES.iter().copied()) })
}
