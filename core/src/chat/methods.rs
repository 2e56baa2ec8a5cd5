//! The methods of Python's strings, dictionaries and lists that templates call.
//!
//! Methods that change a value in place are refused, as in Jinja's immutable sandbox.

use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::value::{DynObject, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::arguments::{Arguments, refused};
use super::strings;

const OF_MAPS: [&str; 5] = ["get", "items", "keys", "values", "copy"];
const OF_LISTS: [&str; 3] = ["index", "count", "copy"];
/// Methods that the sandbox refuses.
const CHANGE_MAPS: [&str; 5] = ["update", "pop", "popitem", "clear", "setdefault"];
const CHANGE_LISTS: [&str; 7] = ["append", "insert", "pop", "extend", "remove", "sort", "reverse"];

/// Calls a method of a value that is none of minijinja's own.
pub(super) fn call(state: &mut State, value: &Value, method: &str, all: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::new(method, all);
    let size = value.as_str().map_or_else(|| value.len().unwrap_or(0), |text| text.len() / 16);
    state.consume_fuel(size as u64)?;
    match value.kind() {
        ValueKind::String => strings::call(state, value.as_str().unwrap_or_default(), &arguments, all),
        ValueKind::Map if is_dictionary(value) => map(value, &arguments),
        ValueKind::Seq => list(value, &arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn unchangeable(method: &str) -> Error {
    refused(format!("{method}() changes a value in place, which the sandbox of chat templates refuses"))
}

fn map(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let missing = || Error::from(ErrorKind::UnknownMethod);
    let pairs = || -> Result<Vec<(Value, Value)>, Error> {
        let keys = value.try_iter()?.checked();
        keys.map(|key| key.and_then(|key| Ok((key.clone(), value.get_item(&key)?)))).collect()
    };
    match arguments.method() {
        "get" => {
            let (key, default) = (arguments.required(0, "key")?, arguments.optional(1, "default"));
            arguments.end(2)?;
            let found = value.as_object().and_then(|object| object.get_value(&key));
            Ok(found.or(default).unwrap_or_else(|| Value::from(())))
        }
        "items" | "keys" | "values" | "copy" => {
            arguments.end(0)?;
            let pairs = pairs()?;
            Ok(match arguments.method() {
                "items" => view("items", pairs.into_iter().map(|(k, v)| Value::from(Tuple::from([k, v]))).collect()),
                "keys" => view("keys", pairs.into_iter().map(|(key, _)| key).collect()),
                "values" => view("values", pairs.into_iter().map(|(_, value)| value).collect()),
                _ => Value::from_pairs(pairs),
            })
        }
        method if CHANGE_MAPS.contains(&method) => Err(unchangeable(method)),
        _ => Err(missing()),
    }
}

/// The result of `items()`, `keys()` and `values()`: it can be iterated, and prints as in Python.
#[derive(Debug)]
struct View {
    kind: &'static str,
    items: Vec<Value>,
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(self.items.clone())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dict_{}({})", self.kind, Value::from(self.items.clone()))
    }
}

fn view(kind: &'static str, items: Vec<Value>) -> Value {
    Value::from_object(View { kind, items })
}

pub(super) fn is_view(value: &Value) -> bool {
    value.downcast_object_ref::<View>().is_some()
}

fn list(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    match arguments.method() {
        "index" | "count" => {
            let item = arguments.required(0, "value")?;
            arguments.end(1)?;
            let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
            if arguments.method() == "count" {
                return Ok(Value::from(items.iter().filter(|other| **other == item).count()));
            }
            let at = items.iter().position(|other| *other == item);
            at.map(Value::from).ok_or_else(|| refused("index(): the value is not in the list"))
        }
        "copy" => {
            arguments.end(0)?;
            Ok(value.clone())
        }
        method if CHANGE_LISTS.contains(&method) && !value.is_tuple() => Err(unchangeable(method)),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// A dictionary as minijinja makes them.
static PLAIN: LazyLock<Value> = LazyLock::new(|| Value::from_pairs([("", "")]));

/// True for a plain dictionary. Namespaces, loops and macros have attributes of their own and are none.
pub(super) fn is_dictionary(value: &Value) -> bool {
    let plain = |object: &DynObject| object.type_name() == PLAIN.as_object().map_or("", DynObject::type_name);
    value.kind() == ValueKind::Map && value.as_object().is_some_and(plain)
}

/// A method of a value that is not called at once: Jinja looks for methods before keys.
#[derive(Debug)]
struct Bound {
    value: Value,
    method: String,
}

impl Object for Bound {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        call(state, &self.value, &self.method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<built-in method {}>", self.method)
    }
}

/// Returns `value.name` where a method is not called: the method if there is one, or else the key.
pub(super) fn attribute(value: Value, name: &str) -> Result<Value, Error> {
    let is_method = match value.kind() {
        ValueKind::String => strings::METHODS.contains(&name),
        ValueKind::Map => is_dictionary(&value) && (OF_MAPS.contains(&name) || CHANGE_MAPS.contains(&name)),
        ValueKind::Seq if value.is_tuple() => OF_LISTS[..2].contains(&name),
        ValueKind::Seq => OF_LISTS.contains(&name) || CHANGE_LISTS.contains(&name),
        ValueKind::Undefined => return Err(Error::new(ErrorKind::UndefinedError, format!("no attribute {name}"))),
        _ => false,
    };
    if is_method { Ok(Value::from_object(Bound { value, method: name.into() })) } else { value.get_attr(name) }
}

/// Names that [`attribute`] has to see to where they are not called: those of dictionaries, which JSON has as keys, too.
pub(super) fn hides_a_key(name: &str) -> bool {
    OF_MAPS.contains(&name) || CHANGE_MAPS.contains(&name)
}

/// `is callable`.
pub(super) fn is_callable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Plain | ValueKind::Undefined => true,
        // Macros have attributes, and their call is what they are for.
        ValueKind::Map => !is_dictionary(value) && value.to_string().starts_with("<macro "),
        _ => false,
    }
}
