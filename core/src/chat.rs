<<<<<<< HEAD

=======
//! Chat templates: how a model wants the turns of a conversation written down.
//!
//! A template is Jinja as Hugging Face runs it: `trim_blocks`, `lstrip_blocks`, loop controls, the methods of Python's
//! strings, `raise_exception`, `tojson`, and `strftime_now` if the caller gives a date. It comes with the model and is
//! not trusted: it reads nothing but the conversation, and its work and output are bounded.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error as JinjaError, ErrorKind, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;

/// Work that any conversation may take: a unit is one instruction, or 64 bytes of text made.
const FUEL: u64 = 2_000_000;

/// Work besides for each byte of the conversation.
const FUEL_PER_BYTE: u64 = 2;

/// Macros that call each other, and parentheses within parentheses.
const MAX_RECURSION: usize = 100;

/// Spaces of `tojson(indent=...)`.
const MAX_INDENT: usize = 16;

/// The name of the template in messages.
const NAME: &str = "template";

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`; templates may know others.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// A compiled chat template. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
    bos: Option<String>,
    eos: Option<String>,
}

impl Template {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens that begin and end a text, for models that have
    /// them.
    ///
    /// # Errors
    /// [`Error::Template`] with the line that is not Jinja.
    pub fn from_source(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(describe)?);
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        // A prompt is plain text, whatever the template is called.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", tojson);
        environment.add_template_owned(NAME, source.to_owned()).map_err(describe)?;
        Ok(Template { environment, bos: bos.map(str::to_owned), eos: eos.map(str::to_owned) })
    }

    /// The template in the metadata of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Template`] if there is none, and as [`from_source`](Self::from_source).
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        let source = metadata.str("tokenizer.chat_template").ok_or_else(|| Error::template("the model has none"))?;
        let token = |role: &str| {
            let id = metadata.u64(&format!("tokenizer.ggml.{role}_token_id"))?;
            metadata.strings("tokenizer.ggml.tokens")?.get(usize::try_from(id).ok()?)
        };
        Self::from_source(source, token("bos"), token("eos"))
    }

    /// Gives templates that ask for it today's date. Without one `strftime_now` is undefined, and templates fall back
    /// to a date of their own: the library has no clock.
    pub fn with_date(mut self, date: Date) -> Self {
        self.environment.add_function("strftime_now", move |format: &str| date.strftime(format));
        self
    }

    /// Writes a conversation as the model expects it. With `add_generation_prompt` it ends where the assistant's next
    /// turn begins.
    ///
    /// # Errors
    /// [`Error::Template`] if the template refuses the messages, fails or does too much work.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let bytes: usize = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        let mut environment = self.environment.clone();
        environment.set_fuel(Some((bytes as u64).saturating_mul(FUEL_PER_BYTE).saturating_add(FUEL)));
        let token = |text: &Option<String>| text.as_deref().map_or(Value::UNDEFINED, Value::from);
        let conversation = context! {
            messages => Serde(messages),
            add_generation_prompt => add_generation_prompt,
            bos_token => token(&self.bos),
            eos_token => token(&self.eos),
            tools => Value::from(()),
            documents => Value::from(()),
        };
        environment.get_template(NAME).and_then(|template| template.render(conversation)).map_err(describe)
    }
}

fn describe(error: JinjaError) -> Error {
    Error::template(error)
}

fn raise_exception(message: &str) -> Result<Value, JinjaError> {
    Err(JinjaError::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// Python's `json.dumps` with `ensure_ascii=False`, as Hugging Face calls it: unlike Jinja's own, it escapes nothing
/// for HTML and puts spaces after separators.
fn tojson(value: Value, options: Kwargs) -> Result<String, JinjaError> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut json = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(MAX_INDENT));
            let format = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, format))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, Spaced)),
    };
    let text = written.map_err(|error| error.to_string()).and_then(|()| {
        String::from_utf8(json).map_err(|error| error.to_string()) //
    });
    text.map_err(|reason| JinjaError::new(ErrorKind::BadSerialization, reason))
}

/// JSON on one line with a space after each separator.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    year: i32,
    /// From 1.
    month: u8,
    /// From 1.
    day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Date {
    /// `None` unless `month` is within 1..=12, `day` within 1..=31 and `year` has at most four digits.
    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        let sound = (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        sound.then_some(Date { year, month, day })
    }

    /// The directives of `strftime` that a date without a time and a weekday answers.
    fn strftime(self, format: &str) -> Result<String, JinjaError> {
        let Date { year, month, day } = self;
        let name = MONTHS[usize::from(month) - 1];
        let mut text = String::new();
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match rest.next() {
                Some('Y') => text.push_str(&format!("{year:04}")),
                Some('y') => text.push_str(&format!("{:02}", year % 100)),
                Some('m') => text.push_str(&format!("{month:02}")),
                Some('d') => text.push_str(&format!("{day:02}")),
                Some('e') => text.push_str(&format!("{day:2}")),
                Some('B') => text.push_str(name),
                Some('b' | 'h') => text.push_str(&name[..3]),
                Some('F') => text.push_str(&format!("{year:04}-{month:02}-{day:02}")),
                Some('%') => text.push('%'),
                _ => {
                    let reason = format!("strftime_now knows the date only, not {format:?}");
                    return Err(JinjaError::new(ErrorKind::InvalidOperation, reason));
                }
            }
        }
        Ok(text)
    }
}
>>>>>>> readers
