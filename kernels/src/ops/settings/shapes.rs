//! The arguments of an op in terms of its settings, and the sizes of settings read off the shapes of tensors.

use super::{Field, Request, SettingError, Source, Type, Value};
use crate::plan::Access;
use alloc::{string::String, vec::Vec};

/// An argument of an op as its table describes it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Argument {
    /// The name in case files, in Rust and in WGSL.
    pub name: &'static str,
    /// The access that some settings ask for; `ReadWrite` if it depends on them.
    pub access: Access,
    /// The name of a type, or of the setting that holds it.
    pub dtype: &'static str,
    /// Its shapes, of which the first that holds is the argument's.
    pub forms: &'static [Form],
}

/// A shape of an argument.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Form {
    /// Names of settings, numbers and formulas.
    pub sizes: &'static [&'static str],
    /// The setting that must be set.
    pub when: Option<&'static str>,
}

impl Argument {
    /// The setting that the op has the argument for, if there is one.
    pub fn when(&self) -> Option<&'static str> {
        let when = self.forms.first()?.when;
        when.filter(|_| self.forms.iter().all(|form| form.when == when))
    }
}

/// A size in terms of settings.
enum Size<'a> {
    /// A setting, times the first number and plus the second.
    Linear(&'a str, u32, u32),
    /// A setting, or 1 where the flag is not set.
    Flagged(&'a str, &'a str),
    Other,
}

impl<'a> Size<'a> {
    fn of(text: &'a str) -> Self {
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_name(text) {
            return Size::Linear(text, 1, 0);
        }
        let inner = text.trim_start_matches('(').trim_end_matches(')').trim();
        let split = |by: char| inner.split_once(by).map(|(a, b)| (a.trim(), b.trim()));
        if let Some((flag, name)) = split('?').filter(|(a, b)| is_name(a) && is_name(b)) {
            return Size::Flagged(flag, name);
        }
        if let Some((factor, name)) = split('*').filter(|(_, b)| is_name(b)) {
            return factor.parse().map_or(Size::Other, |factor| Size::Linear(name, factor, 0));
        }
        if let Some((name, more)) = split('+').filter(|(a, _)| is_name(a)) {
            return more.parse().map_or(Size::Other, |more| Size::Linear(name, 1, more));
        }
        Size::Other
    }
}

/// Returns the value of `field` that makes the size `got`.
fn solve(size: &str, got: u32, field: &Field) -> Option<Value> {
    match Size::of(size) {
        Size::Linear(name, factor, more) if name == field.name && factor > 0 => {
            let rest = got.checked_sub(more)?;
            rest.is_multiple_of(factor).then_some(Value::Count(rest / factor))
        }
        Size::Flagged(flag, _) if flag == field.name => Some(Value::Flag(got != 1)),
        Size::Flagged(_, name) if name == field.name && got != 1 => Some(Value::Count(got)),
        _ => None,
    }
}

/// Returns a size if it is a number or made of settings with these values; of other formulas, nothing.
pub fn evaluate(size: &str, value: &dyn Fn(&str) -> Option<Value>) -> Option<u64> {
    if let Ok(number) = size.parse() {
        return Some(number);
    }
    let count = |name: &str| match value(name)? {
        Value::Count(n) => Some(u64::from(n)),
        _ => None,
    };
    match Size::of(size) {
        Size::Linear(name, factor, more) => Some(u64::from(factor) * count(name)? + u64::from(more)),
        Size::Flagged(flag, name) => {
            if value(flag)? == Value::Flag(true) {
                count(name)
            } else {
                Some(1)
            }
        }
        Size::Other => None,
    }
}

/// A source that takes the sizes which another leaves out from the shapes of tensors.
///
/// The caller checks that every shape is the op's own once the op is known.
pub struct Sizes<'a> {
    /// The source of what the shapes do not tell.
    pub source: &'a mut dyn Source,
    /// Shapes by the names of arguments.
    pub shapes: &'a [(String, Vec<u32>)],
}

impl Sizes<'_> {
    /// Returns `true` if a setting is set, as far as that is known before its turn.
    fn is_set(&mut self, name: &str, request: &Request<'_>) -> Result<bool, SettingError> {
        let Some(field) = request.table.fields.iter().find(|field| field.name == name) else { return Ok(false) };
        if let Some(value) = request.known(name) {
            return Ok(field.is_set(value));
        }
        let given = self.source.value(&Request { field, default: Value::None, ..*request })?;
        Ok(given.is_some_and(|value| field.is_set(value)))
    }
}

impl Source for Sizes<'_> {
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError> {
        let given = self.source.value(request)?;
        if given.is_some() || !matches!(request.field.kind, Type::Count | Type::Flag) {
            return Ok(given);
        }
        for argument in request.table.arguments {
            let Some((_, shape)) = self.shapes.iter().find(|(name, _)| name == argument.name) else { continue };
            for form in argument.forms {
                let holds = match form.when {
                    _ if form.sizes.len() != shape.len() => false,
                    // A shape alone does not tell which of several forms it has.
                    Some(flag) if argument.forms.len() > 1 => {
                        flag != request.field.name && self.is_set(flag, request)?
                    }
                    _ => true,
                };
                if !holds {
                    continue;
                }
                let sizes = form.sizes.iter().zip(shape);
                if let Some(value) = sizes.into_iter().find_map(|(size, &got)| solve(size, got, request.field)) {
                    return Ok(Some(value));
                }
                break;
            }
        }
        Ok(None)
    }
}
