//! Settings as text: `T=1024,heads=8`.

use super::{Field, Request, SettingError, Source, Table, Type, Value};
use alloc::{format, vec, vec::Vec};

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
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |other: &&'a str| {
        let most = name.len().min(other.len()) / 3;
        let distance = if name.eq_ignore_ascii_case(other) { 0 } else { distance(name, other) };
        (distance <= most).then_some(distance)
    };
    names
        .filter_map(|other| near(&other).map(|distance| (distance, other)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// Returns how many bytes must be put in, left out or replaced, or swapped with the next one, to make one name the other
/// (Levenshtein's distance with transpositions, in which no byte is edited twice).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // `rows[0][j]`: the distance of what was read of `a` and the first `j` bytes of `b`; behind it, the rows before.
    let mut rows = [(0..=b.len()).collect::<Vec<usize>>(), vec![0; b.len() + 1], vec![0; b.len() + 1]];
    for i in 0..a.len() {
        rows.rotate_right(1);
        rows[0][0] = i + 1;
        for j in 0..b.len() {
            let replaced = rows[1][j] + usize::from(a[i] != b[j]);
            let edited = replaced.min(rows[1][j + 1] + 1).min(rows[0][j] + 1);
            let swaps = i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j];
            rows[0][j + 1] = if swaps { edited.min(rows[2][j - 1] + 1) } else { edited };
        }
    }
    rows[0][b.len()]
}
