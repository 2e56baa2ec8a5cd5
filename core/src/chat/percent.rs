//! `%` between values: the remainder of numbers, and Python's formatting of strings, which minijinja's operator lacks.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::python::{Room, repr, string};

/// Digits behind a point, and columns.
const MAX_PRECISION: usize = 1000;
const MAX_WIDTH: usize = 1 << 20;

fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

/// Returns `left % right`.
pub(super) fn percent(state: &State, left: Value, right: Value) -> Result<Value, Error> {
    if let Some(format) = left.as_str() {
        return Formatter { arguments: Arguments::new(&right), room: Room::of(state) }.write(format).map(Value::from);
    }
    let whole = |value: &Value| match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        _ if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    };
    if let (Some(a), Some(b)) = (whole(&left), whole(&right)) {
        // The remainder has the sign of the divisor.
        let remainder = a.checked_rem(b).ok_or_else(|| refused("integer modulo by zero"))?;
        let below = remainder != 0 && (remainder < 0) != (b < 0);
        return Ok(Value::from(if below { remainder + b } else { remainder }));
    }
    let real = |value: &Value| {
        let number = value.is_number() || value.kind() == ValueKind::Bool;
        let wrong = || refused(format!("% takes numbers or a string to format, got {}", value.kind()));
        if number { f64::try_from(value.clone()).map_err(|_| wrong()) } else { Err(wrong()) }
    };
    let (a, b) = (real(&left)?, real(&right)?);
    if b == 0.0 {
        return Err(refused("float modulo by zero"));
    }
    let remainder = a % b;
    Ok(Value::from(if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }))
}

/// The right operand of `%` after a string.
struct Arguments<'a> {
    all: &'a Value,
    tuple: Option<Vec<Value>>,
    next: usize,
}

impl<'a> Arguments<'a> {
    fn new(all: &'a Value) -> Self {
        let tuple = all.is_tuple().then(|| all.try_iter().map(|items| items.collect()).unwrap_or_default());
        Self { all, tuple, next: 0 }
    }

    fn next(&mut self) -> Result<Value, Error> {
        let value = match &self.tuple {
            Some(values) => values.get(self.next).cloned(),
            None => Some(self.all.clone()).filter(|_| self.next == 0),
        };
        self.next += 1;
        value.ok_or_else(|| refused("not enough arguments for format string"))
    }

    fn named(&mut self, name: &str) -> Result<Value, Error> {
        if self.all.kind() != ValueKind::Map {
            return Err(refused("format requires a mapping"));
        }
        let value = self.all.get_item(&Value::from(name))?;
        if value.is_undefined() { Err(refused(format!("the mapping has no key {name:?}"))) } else { Ok(value) }
    }

    /// Refuses values that the format does not show.
    fn end(&self) -> Result<(), Error> {
        let left = match &self.tuple {
            Some(values) => self.next < values.len(),
            None => self.next == 0 && !matches!(self.all.kind(), ValueKind::Map | ValueKind::Seq),
        };
        if left { Err(refused("not all arguments converted during string formatting")) } else { Ok(()) }
    }
}

#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

struct Formatter<'a> {
    arguments: Arguments<'a>,
    room: Room,
}

impl Formatter<'_> {
    fn write(mut self, format: &str) -> Result<String, Error> {
        let mut text = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let name = match rest.strip_prefix('(') {
                Some(inside) => {
                    let end = inside.find(')').ok_or_else(|| refused("incomplete format key"))?;
                    rest = &inside[end + 1..];
                    Some(&inside[..end])
                }
                None => None,
            };
            let (spec, conversion, after) = self.spec(rest)?;
            rest = after;
            if conversion == '%' {
                text.push('%');
                continue;
            }
            let value = match name {
                Some(name) => self.arguments.named(name)?,
                None => self.arguments.next()?,
            };
            if spec.width > MAX_WIDTH {
                return Err(refused(format!("a width must be at most {MAX_WIDTH}, got {}", spec.width)));
            }
            self.room.check(text.len() + spec.width)?;
            text.push_str(&spec.convert(conversion, &value)?);
            self.room.check(text.len())?;
        }
        self.arguments.end()?;
        Ok(text + rest)
    }

    /// Reads flags, width, precision and the letter, and returns what follows them.
    fn spec<'a>(&mut self, text: &'a str) -> Result<(Spec, char, &'a str), Error> {
        let mut spec = Spec::default();
        let mut chars = text.chars().peekable();
        while let Some(flag) = chars.next_if(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => spec.alternate = true,
            }
        }
        let mut number = |chars: &mut std::iter::Peekable<std::str::Chars>, spec: &mut Spec| -> Result<usize, Error> {
            if chars.next_if_eq(&'*').is_some() {
                let wide = i64::try_from(self.arguments.next()?).map_err(|_| refused("* wants int"))?;
                spec.left |= wide < 0;
                return Ok(wide.unsigned_abs() as usize);
            }
            let mut number = 0usize;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                number = number.saturating_mul(10).saturating_add(digit as usize - '0' as usize);
            }
            Ok(number)
        };
        spec.width = number(&mut chars, &mut spec)?;
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars, &mut spec)?);
        }
        while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
        let letter = chars.next().ok_or_else(|| refused("incomplete format"))?;
        let rest: usize = chars.map(char::len_utf8).sum();
        Ok((spec, letter, &text[text.len() - rest..]))
    }
}

impl Spec {
    fn convert(&self, conversion: char, value: &Value) -> Result<String, Error> {
        let cut = |text: String| match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        Ok(match conversion {
            's' => self.pad("", cut(string(value))),
            'r' => self.pad("", cut(repr(value))),
            'a' => self.pad("", cut(repr(value).chars().flat_map(char::escape_default).collect())),
            'c' => self.pad("", character(value)?.to_string()),
            'd' | 'i' | 'u' => self.whole(value, |n| n.to_string(), "")?,
            'o' => self.whole(value, |n| format!("{n:o}"), "0o")?,
            'x' => self.whole(value, |n| format!("{n:x}"), "0x")?,
            'X' => self.whole(value, |n| format!("{n:X}"), "0X")?,
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => self.real(conversion, value)?,
            other => return Err(refused(format!("unsupported format character {other:?}"))),
        })
    }

    fn sign(&self, negative: bool) -> &'static str {
        match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        }
    }

    /// Fills a field, with zeros between `prefix` and the digits if it is a number's.
    fn pad(&self, prefix: &str, text: String) -> String {
        let fill = self.width.saturating_sub(prefix.chars().count() + text.chars().count());
        match (self.left, self.zero && !prefix.is_empty()) {
            (true, _) => format!("{prefix}{text}{}", " ".repeat(fill)),
            (false, true) => format!("{prefix}{}{text}", "0".repeat(fill)),
            (false, false) => format!("{}{prefix}{text}", " ".repeat(fill)),
        }
    }

    fn number(&self, prefix: &str, digits: String) -> String {
        let fill = self.width.saturating_sub(prefix.len() + digits.len());
        match self.zero && !self.left {
            true => format!("{prefix}{}{digits}", "0".repeat(fill)),
            false => self.pad("", format!("{prefix}{digits}")),
        }
    }

    fn whole(&self, value: &Value, digits: impl Fn(u128) -> String, base: &str) -> Result<String, Error> {
        let wrong = || refused(format!("a number is required by the format, got {}", value.kind()));
        let number = match value.kind() {
            ValueKind::Bool => i128::from(value.is_true()),
            _ if value.is_integer() => i128::try_from(value.clone())?,
            ValueKind::Number if base.is_empty() => f64::try_from(value.clone())?.trunc() as i128,
            _ => return Err(wrong()),
        };
        let digits = digits(number.unsigned_abs());
        let least = self.precision.unwrap_or(0).min(MAX_PRECISION);
        let prefix = [self.sign(number < 0), if self.alternate { base } else { "" }].concat();
        Ok(self.number(&prefix, format!("{digits:0>least$}")))
    }

    fn real(&self, conversion: char, value: &Value) -> Result<String, Error> {
        let wrong = || refused(format!("must be real number, not {}", value.kind()));
        let number = match value.kind() {
            ValueKind::Bool => f64::from(u8::from(value.is_true())),
            ValueKind::Number => f64::try_from(value.clone())?,
            _ => return Err(wrong()),
        };
        let precision = self.precision.unwrap_or(6);
        if precision > MAX_PRECISION {
            return Err(refused(format!("a precision must be at most {MAX_PRECISION}, got {precision}")));
        }
        let size = number.abs();
        let digits = match conversion.to_ascii_lowercase() {
            _ if size.is_nan() => "nan".into(),
            _ if size.is_infinite() => "inf".into(),
            'f' => format!("{size:.precision$}"),
            'e' => exponent(size, precision),
            _ => general(size, precision.max(1), self.alternate),
        };
        let digits = if conversion.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
        let negative = number.is_sign_negative() && !number.is_nan();
        Ok(self.number(self.sign(negative), digits))
    }
}

/// C's `%e`: an exponent of a sign and at least two digits.
fn exponent(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// C's `%g`: whichever is shorter, without zeros at the end.
fn general(size: f64, precision: usize, keep_zeros: bool) -> String {
    let scientific = exponent(size, precision - 1);
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i64 = power.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') && !keep_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= precision as i64 {
        return format!("{}e{}", trim(mantissa), &scientific[mantissa.len() + 1..]);
    }
    let decimals = (precision as i64 - 1 - power).max(0) as usize;
    trim(&format!("{size:.decimals$}"))
}

fn character(value: &Value) -> Result<char, Error> {
    let wrong = || refused("%c requires int or char");
    match value.as_str() {
        Some(text) => {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none()).ok_or_else(wrong)
        }
        None => u32::try_from(value.clone()).ok().and_then(char::from_u32).ok_or_else(wrong),
    }
}
