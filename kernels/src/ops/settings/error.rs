//! Errors of settings as text.

use super::table;
use crate::ops::Op;
use alloc::string::String;
use core::fmt::{Display, Formatter, Result};

/// Settings that describe no spec.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SettingError {
    /// No op has this name.
    Op {
        /// The name that was given.
        name: String,
        /// The op whose name is nearest to it.
        nearest: Option<&'static str>,
    },
    /// The op has no setting of this name.
    Name {
        /// The op.
        op: &'static str,
        /// The name that was given.
        name: String,
        /// The setting whose name is nearest to it.
        nearest: Option<&'static str>,
    },
    /// A setting without a value.
    Pair {
        /// The text that was given.
        got: String,
    },
    /// A setting whose value is not one of those it can have.
    Value {
        /// The op.
        op: &'static str,
        /// The setting.
        name: String,
        /// The values that it can have.
        expected: String,
        /// The value that was given.
        got: String,
    },
}

impl Display for SettingError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            SettingError::Op { name, nearest } => {
                write!(f, "there is no op {name}")?;
                guess(f, *nearest)?;
                f.write_str("; there are ")?;
                list(f, Op::NAMES.iter().map(|name| (None, *name)))
            }
            SettingError::Name { op, name, nearest } => {
                write!(f, "{op} has no setting {name}")?;
                guess(f, *nearest)?;
                f.write_str("; it has ")?;
                list(f, table(op).into_iter().flat_map(|table| table.fields).map(|field| (field.letter, field.name)))
            }
            SettingError::Pair { got } => write!(f, "a setting must be NAME=VALUE, got {got}"),
            SettingError::Value { op, name, expected, got } => write!(f, "{op}: {name} must be {expected}, got {got}"),
        }
    }
}

impl core::error::Error for SettingError {}

fn guess(f: &mut Formatter<'_>, nearest: Option<&str>) -> Result {
    nearest.map_or(Ok(()), |name| write!(f, " (did you mean {name}?)"))
}

fn list(f: &mut Formatter<'_>, names: impl Iterator<Item = (Option<&'static str>, &'static str)>) -> Result {
    for (i, (letter, name)) in names.enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        letter.map_or(Ok(()), |letter| write!(f, "{letter}|"))?;
        f.write_str(name)?;
    }
    Ok(())
}
