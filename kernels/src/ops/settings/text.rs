//! Settings as text: `T=1024,heads=8`.

use super::{Field, Request, SettingError, Source, Table, Type, Value};
use alloc::{format, vec::Vec};

/// Settings as pairs of names, or letters, and values.
pub struct Text<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Text<'a> {
    /// Splits `NAME=VALUE,...` and checks that the op has settings of these names.
    ///
    /// # Errors
    /// `Pair` for a setting without a value, `Name` for one that the op does not have.
    pub fn new(table: &Table, settings: &'a str) -> Result<Self, SettingError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once('=').ok_or_else(|| SettingError::Pair { got: setting.into() })?;
            let name = name.trim();
            if table.field(name).is_none() {
                let names = table.fields.iter().flat_map(|field| field.letter.into_iter().chain([field.name]));
                return Err(SettingError::Name { op: table.op, name: name.into(), nearest: nearest(name, names) });
            }
            pairs.push((name, value.trim()));
        }
        Ok(Self { pairs })
    }
}

impl Source for Text<'_> {
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError> {
        let &Request { table, field, .. } = request;
        let mut given = self.pairs.iter().filter(|(name, _)| field.is(name));
        let Some(&(name, value)) = given.next() else { return Ok(None) };
        if let Some((again, value)) = given.next() {
            let (expected, got) = ("given once".into(), format!("{again}={value} besides"));
            return Err(SettingError::Value { op: table.op, name: name.into(), expected, got });
        }
        parse(table, field, name, value).map(Some)
    }
}

/// Parses the value of a field that was given under `name`.
///
/// # Errors
/// `Value` for a text that the field can't be.
pub fn parse(table: &Table, field: &Field, name: &str, text: &str) -> Result<Value, SettingError> {
    let value = match field.kind {
        _ if field.optional && text == "none" => Some(Value::None),
        Type::Count => text.parse().ok().map(Value::Count),
        Type::Number => text.parse().ok().map(Value::Number),
        Type::Flag => text.parse().ok().map(Value::Flag),
        Type::Word(_) | Type::Format => field.choices().iter().find(|word| **word == text).copied().map(Value::Word),
    };
    value.ok_or_else(|| SettingError::Value {
        op: table.op,
        name: name.into(),
        expected: field.expected(),
        got: text.into(),
    })
}

/// Returns the name that a mistyped one is nearest to, if one is near: the same in another case, or at a distance of a third
/// of its letters.
pub fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let near = |other: &&'static str| {
        let most = name.len().min(other.len()) / 3;
        let distance = if name.eq_ignore_ascii_case(other) { 0 } else { distance(name, other) };
        (distance <= most).then_some(distance)
    };
    names
        .filter_map(|other| near(&other).map(|distance| (distance, other)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// Returns how many bytes must be put in, left out or replaced to make one name the other (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    // `row[j]`: the distance of what was read of `a` and the first `j` bytes of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
