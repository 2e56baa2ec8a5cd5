//! API keys.

use crate::{Error, Result};
use axum::http::{HeaderMap, header};
use std::path::Path;
use subtle::ConstantTimeEq;

/// The keys of which a request must have one; without any, none is asked for.
#[derive(Clone, Default)]
pub struct Keys(Vec<String>);

impl Keys {
    /// Keys as they are.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Self {
        Self(keys.into_iter().filter(|key| !key.is_empty()).collect())
    }

    /// Reads a file of one key a line; lines that begin with # are comments.
    ///
    /// # Errors
    /// `File` if it can't be read or has no key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let keys = Self::new(lines.map(str::to_owned));
        match keys.0.is_empty() {
            true => Err(Error::file(path, "it has no API key: write one a line")),
            false => Ok(keys),
        }
    }

    /// These and more keys.
    pub fn and(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.0.extend(Self::new(more).0);
        self
    }

    /// The user that a request comes from: the number of its key. `None` if its key is not among these.
    ///
    /// All keys are compared, and to their ends: the time tells nothing of how much was right.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<String> {
        if self.0.is_empty() {
            return Some(String::new());
        }
        let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let given = given.strip_prefix(b"Bearer ").unwrap_or(b"");
        let mut user = None;
        for (number, key) in self.0.iter().enumerate() {
            if bool::from(key.as_bytes().ct_eq(given)) {
                user = Some(number.to_string());
            }
        }
        user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_users_apart() {
        let keys = Keys::new(["first".into(), String::new(), "second".into()]);
        let user = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            keys.user(&headers)
        };
        assert_eq!(user("Bearer second"), Some("1".into()));
        for wrong in ["Bearer secon", "Bearer ", "second", "", "Bearer first "] {
            assert_eq!(user(wrong), None, "{wrong:?}");
        }
        assert_eq!(keys.user(&HeaderMap::new()), None);
        assert_eq!(Keys::default().user(&HeaderMap::new()), Some(String::new()));
    }
}
