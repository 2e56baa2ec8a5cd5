//! Filters, tests and functions of Jinja2 that minijinja lacks or takes fewer arguments for.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::filters;
use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, StringInput, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::arguments::{Arguments, refused};
use super::characters::is_space;
use super::methods::{self, is_callable};
use super::percent::percent;
use super::python::{Room, string};
use super::rewrite::{ATTRIBUTE, PERCENT, VARIADIC};
use super::strings::lines;

/// Columns of `center`, and characters of an indent.
const MAX_WIDTH: i64 = 1 << 16;

/// Adds them all.
pub(super) fn add_to(environment: &mut Environment) {
    environment.add_function(PERCENT, percent);
    environment.add_function(ATTRIBUTE, |value: Value, name: &str| methods::attribute(value, name));
    environment.add_function(VARIADIC, |inner: Value| {
        let parameters = inner.get_attr("arguments").and_then(|names| Ok(names.try_iter()?.collect()));
        parameters.map(|parameters| Value::from_object(Variadic { inner, parameters }))
    });
    environment.add_function("raise_exception", |message: String| Err::<Value, _>(refused(message)));
    environment.add_function("dict", dict);
    environment.add_function("joiner", |separator: Option<String>| {
        Value::from_object(Joiner { separator: separator.unwrap_or_else(|| ", ".into()), used: Mutex::new(false) })
    });
    environment.add_function("cycler", |items: Rest<Value>| match items.is_empty() {
        true => Err(refused("cycler() takes at least one item")),
        false => Ok(Value::from_object(Cycler { items: items.0, at: Mutex::new(0) })),
    });

    environment.add_test("callable", |value: Value| is_callable(&value));
    environment.add_test("iterable", |value: Value| value.try_iter().is_ok() && !value.is_none());
    environment.add_test("sequence", |value: Value| match value.kind() {
        ValueKind::String | ValueKind::Seq | ValueKind::Undefined => true,
        ValueKind::Map => methods::is_dictionary(&value),
        // `range` has places, generators have not.
        ValueKind::Iterable => !methods::is_view(&value) && value.len().is_some(),
        _ => false,
    });

    environment.add_filter("tojson", super::json::tojson);
    for name in ["default", "d"] {
        environment.add_filter(name, default);
    }
    environment.add_filter("sort", |state: &State, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::sort(state, value, all_named(&["reverse", "case_sensitive", "attribute"], rest, named)?)
    });
    environment.add_filter("unique", |state: &State, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::unique(state, value, all_named(&["case_sensitive", "attribute"], rest, named)?)
    });
    environment.add_filter("min", |state: &State, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::min(state, value, all_named(&["case_sensitive", "attribute"], rest, named)?)
    });
    environment.add_filter("max", |state: &State, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::max(state, value, all_named(&["case_sensitive", "attribute"], rest, named)?)
    });
    environment.add_filter("dictsort", |state: &State, value: Value, rest: Rest<Value>, named: Kwargs| {
        state.consume_fuel(value.len().unwrap_or(0) as u64 * 16)?;
        filters::dictsort(&value, all_named(&["case_sensitive", "by", "reverse"], rest, named)?)
    });
    environment.add_filter("float", |state: &State, value: Value, default: Option<Value>, named: Kwargs| {
        let default = default.or(named.get("default")?).unwrap_or_else(|| Value::from(0.0));
        named.assert_all_used()?;
        if value.is_undefined() {
            return Err(refused("float: the value is undefined"));
        }
        filters::float(state, &value, Some(default), Kwargs::from_iter(Vec::<(String, Value)>::new()))
    });
    environment.add_filter("indent", indent);
    environment.add_filter("trim", trim);
    environment.add_filter("wordcount", |text: StringInput| words(text.as_str()));
    environment.add_filter("truncate", truncate);
    environment.add_filter("center", |state: &State, text: StringInput, width: Option<i64>| {
        let width = [Value::from(width.unwrap_or(80).min(MAX_WIDTH))];
        let arguments = Arguments::new("center", &width);
        super::strings::call(state, text.as_str(), &arguments, &width)
    });
    environment.add_filter("string", |value: Value| string(&value));
    for name in ["escape", "e"] {
        environment.add_filter(name, |value: Value| if value.is_safe() { value } else { escape(&value) });
    }
    environment.add_filter("forceescape", |value: Value| escape(&value));
    environment.add_filter("int", int);
    // Attributes only, and those of dictionaries are methods.
    environment.add_filter("attr", |value: Value, name: &str| match methods::is_dictionary(&value) {
        true if methods::hides_a_key(name) => methods::attribute(value, name),
        true => Ok(Value::UNDEFINED),
        false => value.get_attr(name),
    });
}

/// Arguments by place as arguments by name, for filters of minijinja that take only those.
fn all_named(names: &[&str], by_place: Rest<Value>, named: Kwargs) -> Result<Kwargs, Error> {
    if by_place.len() > names.len() {
        return Err(refused(format!("takes at most {} arguments, got {}", names.len(), by_place.len())));
    }
    let given = named.args().map(|name| Ok((name.to_owned(), named.get::<Value>(name)?)));
    let given = given.collect::<Result<Vec<_>, Error>>()?;
    let places = names.iter().map(|name| (*name).to_owned()).zip(by_place.0);
    Ok(places.chain(given).collect())
}

fn default(state: &State, value: Value, by_place: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let other = match by_place.first() {
        Some(other) => other.clone(),
        None => named.get::<Option<Value>>("default_value")?.unwrap_or_else(|| Value::from("")),
    };
    let falsy = match by_place.get(1) {
        Some(falsy) => falsy.clone(),
        None => named.get::<Option<Value>>("boolean")?.unwrap_or_else(|| Value::from(false)),
    };
    named.assert_all_used()?;
    filters::default(state, &value, Rest(vec![other, Value::from(falsy.is_true())]))
}

/// Escapes for HTML with the entities of Python's `markupsafe`.
fn escape(value: &Value) -> Value {
    let mut escaped = String::new();
    for c in string(value).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    Value::from_safe_string(escaped)
}

/// The whole part of a number or of a text that is one; otherwise the default, which is 0.
fn int(value: Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let named = all_named(&["default", "base"], rest, named)?;
    let default = named.get::<Option<Value>>("default")?.unwrap_or_else(|| Value::from(0));
    let base = named.get::<Option<u32>>("base")?.unwrap_or(10);
    named.assert_all_used()?;
    if value.is_undefined() {
        return Err(refused("int: the value is undefined"));
    }
    let whole = |number: f64| number.is_finite().then(|| Value::from(number.trunc() as i128));
    let text = match value.as_str() {
        Some(text) => text.trim_matches(is_space).replace('_', ""),
        None if value.kind() == ValueKind::Bool => return Ok(Value::from(i64::from(value.is_true()))),
        None if value.is_integer() => return Ok(value),
        None => return Ok(f64::try_from(value).ok().and_then(whole).unwrap_or(default)),
    };
    let prefix = match base {
        16 => "0x",
        8 => "0o",
        2 => "0b",
        _ => "",
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let digits = digits.strip_prefix(prefix).unwrap_or(digits);
    let digits = if (2..=36).contains(&base) { i128::from_str_radix(digits, base).ok() } else { None };
    let number = digits.map(|number| Value::from(sign * number));
    Ok(number.or_else(|| whole(text.parse().ok()?)).unwrap_or(default))
}

/// Indents lines by a count of spaces or by a text, the first and empty ones only if asked.
fn indent(state: &State, text: StringInput, rest: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let named = all_named(&["width", "first", "blank"], rest, named)?;
    let width = named.get::<Option<Value>>("width")?.unwrap_or_else(|| Value::from(4));
    let (first, blank) = (named.get::<Option<Value>>("first")?, named.get::<Option<Value>>("blank")?);
    named.assert_all_used()?;
    let indent = match width.as_str() {
        Some(indent) => indent.to_owned(),
        None => " ".repeat(i64::try_from(width)?.clamp(0, MAX_WIDTH) as usize),
    };
    let wanted = |option: Option<Value>| option.is_some_and(|value| value.is_true());
    let (first, blank, room) = (wanted(first), wanted(blank), Room::of(state));
    let mut out = String::new();
    // Lines as `splitlines` has them, with the empty one at the end.
    let text = [text.as_str(), "\n"].concat();
    for (i, line) in lines(&text, false).into_iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&indent);
        }
        out.push_str(line);
        room.check(out.len())?;
    }
    Ok(out)
}

/// Python's `strip`.
fn trim(value: Value, chars: Option<String>, named: Kwargs) -> Result<String, Error> {
    let chars = match chars {
        Some(chars) => Some(chars),
        None => named.get::<Option<String>>("chars")?,
    };
    named.assert_all_used()?;
    let cut = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(c));
    Ok(string(&value).trim_matches(cut).to_owned())
}

fn words(text: &str) -> usize {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count()
}

/// Cuts a text to a length, at a word unless told otherwise; a little more than the length stays whole.
fn truncate(text: StringInput, rest: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let named = all_named(&["length", "killwords", "end", "leeway"], rest, named)?;
    let length = named.get::<Option<usize>>("length")?.unwrap_or(255);
    let inside = named.get::<Option<Value>>("killwords")?.is_some_and(|value| value.is_true());
    let end = named.get::<Option<String>>("end")?.unwrap_or_else(|| "...".into());
    let leeway = named.get::<Option<usize>>("leeway")?.unwrap_or(5);
    named.assert_all_used()?;
    let text = text.as_str();
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let Some(most) = length.checked_sub(end.chars().count()) else {
        return Err(refused(format!("truncate: a length must be at least that of {end:?}, got {length}")));
    };
    let cut: String = text.chars().take(most).collect();
    let kept = if inside { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words) };
    Ok([kept, &end].concat())
}

/// `dict(mapping or pairs, name=value)`.
fn dict(state: &State, from: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    if let Some(from) = from {
        for item in from.try_iter()?.checked() {
            let item = item?;
            state.consume_fuel(1)?;
            pairs.push(match from.kind() {
                ValueKind::Map => (item.clone(), from.get_item(&item)?),
                _ if item.len() == Some(2) => (item.get_item_by_index(0)?, item.get_item_by_index(1)?),
                _ => return Err(refused("dict() takes a mapping or pairs")),
            });
        }
    }
    for name in named.args() {
        pairs.push((Value::from(name), named.get(name)?));
    }
    Ok(Value::from_pairs(pairs))
}

/// A macro that takes more arguments than it names: they come in `varargs` and `kwargs`, its last two.
#[derive(Debug)]
struct Variadic {
    inner: Value,
    parameters: Vec<Value>,
}

impl Object for Variadic {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.inner.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let arguments = Arguments::new("macro", args);
        let own = self.parameters.len().saturating_sub(2);
        let (places, named) = arguments.parts();
        let (first, more) = places.split_at(places.len().min(own));
        let mut pass: Vec<(String, Value)> = Vec::new();
        let mut others = Vec::new();
        if let Some(named) = named {
            for name in named.args() {
                let value = named.get::<Value>(name)?;
                let known = name == "caller" || self.parameters[..own].iter().any(|p| p.as_str() == Some(name));
                match known {
                    true => pass.push((name.to_owned(), value)),
                    false => others.push((name.to_owned(), value)),
                }
            }
        }
        pass.push(("varargs".into(), Value::from(minijinja::value::Tuple::from(more.to_vec()))));
        pass.push(("kwargs".into(), Value::from_pairs(others)));
        let all: Vec<Value> = first.iter().cloned().chain([Value::from(Kwargs::from_iter(pass))]).collect();
        self.inner.call(state, &all)
    }
}

/// Gives nothing the first time, and a separator from then on.
#[derive(Debug)]
struct Joiner {
    separator: String,
    used: Mutex<bool>,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Value::from(if std::mem::replace(&mut used, true) { &self.separator } else { "" }))
    }
}

/// Gives one item after the other, for ever.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: Mutex<usize>,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        (key.as_str() == Some("current")).then(|| self.items[*at % self.items.len()].clone())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, _: &[Value]) -> Result<Value, Error> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let item = self.items[*at % self.items.len()].clone();
        match method {
            "next" => *at += 1,
            "reset" => *at = 0,
            _ => return Err(Error::from(minijinja::ErrorKind::UnknownMethod)),
        }
        Ok(if method == "next" { item } else { Value::from(()) })
    }
}
