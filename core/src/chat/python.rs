//! Python's text forms of values, and the limit of the text that a template produces.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// Bytes that a unit of work pays for, as minijinja counts them.
const BYTES_PER_FUEL: u64 = 64;

/// Bytes that a template may still produce; beyond them it is out of fuel.
pub(super) struct Room(u64);

impl Room {
    pub(super) fn of(state: &State) -> Self {
        let left = state.fuel_levels().map_or(u64::MAX, |(_, left)| left);
        Room(left.saturating_mul(BYTES_PER_FUEL))
    }

    /// Refuses to make more than `bytes`, before they are allocated or soon after.
    pub(super) fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes as u64 > self.0 { Err(Error::from(ErrorKind::OutOfFuel)) } else { Ok(()) }
    }
}

/// Python's `str(value)`.
pub(super) fn string(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if value.kind() == ValueKind::Number && !value.is_integer() => float(number),
        _ => value.to_string(),
    }
}

/// Python's `repr(value)`.
pub(super) fn repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::String => {
            // As it stands in a list.
            let list = Value::from(vec![value.clone()]).to_string();
            list.get(1..list.len() - 1).unwrap_or_default().to_owned()
        }
        _ => string(value),
    }
}

/// Python's `repr` of a float: the shortest digits that read back, with an exponent outside of 1e-4 to 1e16.
pub(super) fn float(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        return if number.is_nan() {
            "nan"
        } else if number > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .into();
    }
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}
