//! One setting of an op: its name, type, range and value.

use crate::dtype::DType;
use alloc::{format, string::String};

/// One setting of an op.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Field {
    /// The name in settings and in `Spec`.
    pub name: &'static str,
    /// The letter of the [glossary](crate::plan::shape::GLOSSARY) that goes for the name.
    pub letter: Option<&'static str>,
    /// The type.
    pub kind: Type,
    /// `true` if `none` is a value.
    pub optional: bool,
    /// The values that the op takes.
    pub range: Range,
    /// The default as the table has it: a value, or an expression of fields before it.
    pub default: &'static str,
    /// Lines of documentation; a blank stands before each.
    pub docs: &'static [&'static str],
}

impl Field {
    pub(crate) const fn new<T: Setting>(
        name: &'static str,
        letter: Option<&'static str>,
        range: Range,
        default: &'static str,
        docs: &'static [&'static str],
    ) -> Self {
        Self { name, letter, kind: T::TYPE, optional: T::OPTIONAL, range, default, docs }
    }

    /// Returns `true` if the field goes by this name or letter.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.letter == Some(name)
    }

    /// The words that the field can be; empty for other types.
    pub fn choices(&self) -> &'static [&'static str] {
        match (self.range, self.kind) {
            (Range::Words(words), _) | (_, Type::Word(words)) => words,
            (_, Type::Format) => &FORMATS,
            _ => &[],
        }
    }

    /// Describes the values that the field can have as text.
    pub fn expected(&self) -> String {
        let one = match self.kind {
            Type::Count => "a whole number below 2^32".into(),
            Type::Number => "a number".into(),
            Type::Flag => "true or false".into(),
            Type::Word(_) | Type::Format => self.choices().join(" or "),
        };
        if self.optional { format!("{one} or none") } else { one }
    }

    /// Returns `true` for a value that asks for something: neither none nor false, nor 0 where none is no value.
    pub fn is_set(&self, value: Value) -> bool {
        match value {
            Value::None | Value::Flag(false) => false,
            Value::Count(0) => self.optional,
            _ => true,
        }
    }

    /// Returns the documentation as one line.
    pub fn doc(&self) -> String {
        line(self.docs)
    }
}

/// Joins the lines of a doc comment.
pub(super) fn line(docs: &[&str]) -> String {
    let mut all = String::new();
    for doc in docs {
        all += if all.is_empty() { "" } else { " " };
        all += doc.trim();
    }
    all
}

/// The type of a field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Type {
    /// A `u32`.
    Count,
    /// An `f32`.
    Number,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a [`DType`].
    Format,
}

/// Values that `validate` admits, as far as they do not depend on other fields than those named here.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Range {
    /// Every value of the type.
    Any,
    /// From the first to the second.
    Counts(u32, u32),
    /// A power of two.
    PowerOfTwo,
    /// Even numbers up to the value of another field.
    EvenUpTo(&'static str),
    /// A divisor of another field.
    Divides(&'static str),
    /// A multiple of another field.
    MultipleOf(&'static str),
    /// At least the default: a distance between rows, or room for something.
    FromDefault,
    /// From the first to the second; `f32::MAX` is no limit.
    Numbers(f32, f32),
    /// Positive and finite.
    Positive,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// The value of a field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// No value, of a field that is optional.
    None,
    /// A number without sign.
    Count(u32),
    /// A number.
    Number(f32),
    /// `true` or `false`.
    Flag(bool),
    /// A word of the field's list, or the name of a format.
    Word(&'static str),
}

impl Value {
    /// Returns the value of a format's field.
    pub fn format(format: DType) -> Self {
        Value::Word(format.name())
    }
}

impl core::fmt::Display for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Value::None => f.write_str("none"),
            Value::Count(n) => write!(f, "{n}"),
            Value::Number(x) => write!(f, "{x}"),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Word(word) => f.write_str(word),
        }
    }
}

/// A Rust type that fields can have.
pub trait Setting: Copy {
    /// The field's type.
    const TYPE: Type;
    /// Whether `none` is a value.
    const OPTIONAL: bool = false;
    /// Returns the value as settings have it.
    fn value(self) -> Value;
    /// Returns `None` for a value of another type.
    fn of(value: Value) -> Option<Self>;
}

macro_rules! plain {
    ($($type:ty: $kind:ident),*) => {$(
        impl Setting for $type {
            const TYPE: Type = Type::$kind;
            fn value(self) -> Value {
                Value::$kind(self)
            }
            fn of(value: Value) -> Option<Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }
        }
    )*};
}

plain!(u32: Count, f32: Number, bool: Flag);

impl<T: Setting> Setting for Option<T> {
    const TYPE: Type = T::TYPE;
    const OPTIONAL: bool = true;
    fn value(self) -> Value {
        self.map_or(Value::None, T::value)
    }
    fn of(value: Value) -> Option<Self> {
        if value == Value::None { Some(None) } else { T::of(value).map(Some) }
    }
}

/// The names of the formats of weights.
const FORMATS: [&str; DType::WEIGHTS.len()] = {
    let mut names = [""; DType::WEIGHTS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = DType::WEIGHTS[i].name();
        i += 1;
    }
    names
};

/// Words of every type are taken, so that an op is seen to refuse those that hold no weights.
impl Setting for DType {
    const TYPE: Type = Type::Format;
    fn value(self) -> Value {
        Value::Word(self.name())
    }
    fn of(value: Value) -> Option<Self> {
        let Value::Word(word) = value else { return None };
        DType::WEIGHTS.into_iter().chain([DType::I32, DType::U32]).find(|format| format.name() == word)
    }
}
