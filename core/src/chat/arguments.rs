//! Arguments of calls, by place and by name as Python has them.

use std::sync::Arc;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

pub(super) fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

/// The arguments of a call.
pub(super) struct Arguments<'a> {
    method: &'a str,
    positional: &'a [Value],
    named: Option<Kwargs>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(method: &'a str, all: &'a [Value]) -> Self {
        match all.split_last() {
            Some((last, before)) if last.is_kwargs() => {
                Self { method, positional: before, named: Kwargs::try_from(last.clone()).ok() }
            }
            _ => Self { method, positional: all, named: None },
        }
    }

    pub(super) fn method(&self) -> &'a str {
        self.method
    }

    /// Arguments by place, and those by name.
    pub(super) fn parts(&self) -> (&'a [Value], Option<&Kwargs>) {
        (self.positional, self.named.as_ref())
    }

    /// The argument at a place, or of a name; `None` for Python's `None`, too.
    pub(super) fn optional(&self, at: usize, name: &str) -> Option<Value> {
        let named = || self.named.as_ref()?.get::<Value>(name).ok();
        self.positional.get(at).cloned().or_else(named).filter(|value| !value.is_none())
    }

    pub(super) fn required(&self, at: usize, name: &str) -> Result<Value, Error> {
        let missing = || refused(format!("{}() lacks its argument {name}", self.method));
        self.positional.get(at).cloned().or_else(|| self.optional(at, name)).ok_or_else(missing)
    }

    pub(super) fn integer(&self, at: usize, name: &str) -> Result<Option<i64>, Error> {
        self.optional(at, name).map(i64::try_from).transpose()
    }

    pub(super) fn text(&self, at: usize, name: &str) -> Result<Arc<str>, Error> {
        let value = self.required(at, name)?;
        let wrong = || refused(format!("{}(): {name} must be a string, got {}", self.method, value.kind()));
        value.to_str().ok_or_else(wrong)
    }

    pub(super) fn optional_text(&self, at: usize, name: &str) -> Result<Option<Arc<str>>, Error> {
        self.optional(at, name).map(|_| self.text(at, name)).transpose()
    }

    /// Refuses more than `most` arguments, and names that nothing asked for.
    pub(super) fn end(&self, most: usize) -> Result<(), Error> {
        if self.positional.len() > most {
            let got = self.positional.len();
            return Err(refused(format!("{}() takes at most {most} arguments, got {got}", self.method)));
        }
        self.named.as_ref().map_or(Ok(()), Kwargs::assert_all_used)
    }
}
