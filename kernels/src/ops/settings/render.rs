//! The tables as text: help of the command line, the reference of ops, the types of the package.

use super::field::line;
use super::{Argument, Defaults, Field, Range, Table, Type, Value};
use crate::ops::Op;
use crate::plan::Access;
use alloc::{format, string::String, string::ToString, vec::Vec};

/// Lists every op with a line of documentation.
pub fn list() -> String {
    let width = Op::NAMES.iter().map(|name| name.len()).max().unwrap_or(0);
    let one = |table: &&Table| format!("  {:width$}  {}\n", table.op, line(&[table.summary]));
    Op::TABLES.iter().map(one).collect()
}

/// Lists the settings of an op: names, types, defaults and documentation.
pub fn help(table: &'static Table) -> String {
    let rows: Vec<[String; 3]> = settings(table)
        .map(|(field, default)| {
            let name = field.letter.map_or(field.name.into(), |letter| format!("{letter}|{}", field.name));
            [name, format!("{}{}", kind(field), range(field)), default]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (names, defaults) = (width(0), width(2));
    let mut all = String::new();
    for (field, [name, kind, default]) in table.fields.iter().zip(&rows) {
        all += &format!("  {name:names$}  {default:defaults$}  {} [{kind}]\n", field.doc());
    }
    all
}

/// The fields of a table with their defaults as text.
fn settings(table: &'static Table) -> impl Iterator<Item = (&'static Field, String)> {
    let (_, known) = table.read(&mut Defaults).expect("defaults have the types of their fields");
    let changed = |name: &str| table.defaults.iter().any(|(other, _)| *other == name);
    known.into_iter().map(move |(field, value)| {
        // An expression of other fields shows as the value that it has by default, but for a bare name.
        let alone = table.field(field.default).is_some() && !changed(field.name);
        (field, if alone { field.default.into() } else { number(value) })
    })
}

fn number(value: Value) -> String {
    match value {
        Value::Number(x) if x != 0.0 && x.abs() < 1e-3 => format!("{x:e}"),
        other => other.to_string(),
    }
}

fn kind(field: &Field) -> String {
    let one = match field.kind {
        Type::Count => "whole number".into(),
        Type::Number => "number".into(),
        Type::Flag => "true or false".into(),
        Type::Word(_) | Type::Format => field.choices().join(", "),
    };
    if field.optional { format!("{one} or none") } else { one }
}

/// The range, behind the type.
fn range(field: &Field) -> String {
    match field.range {
        Range::Any | Range::Words(_) => String::new(),
        Range::Counts(least, u32::MAX) => format!(", at least {least}"),
        Range::Counts(least, most) => format!(", {least} to {most}"),
        Range::PowerOfTwo => ", a power of two".into(),
        Range::EvenUpTo(other) => format!(", even, up to {other}"),
        Range::Divides(other) => format!(", divides {other}"),
        Range::MultipleOf(other) => format!(", a multiple of {other}"),
        Range::FromDefault => ", at least the default".into(),
        Range::Numbers(least, f32::MAX) => format!(", at least {least}"),
        Range::Numbers(least, most) => format!(", {least} to {most}"),
        Range::Positive => ", positive".into(),
    }
}

/// Writes the reference of all ops, docs/ops.md, in Markdown.
pub fn reference() -> String {
    let mut all = String::from(
        "# Ops\n\n\
        Settings go by their names, or by their letters, on the command line (`foveate bench OP --set T=64,causal=false`), in \
        the `params` of case files, and in the package (`gpu.attention({ causal: true }, q, k, v)`). What is left out has its \
        default; sizes are read off the shapes of tensors where there are some.\n\n\
        A test writes this file from the tables in `kernels/src/ops/*/*/spec.rs` if the environment has `FOVEATE_WRITE_DOCS`.\n",
    );
    all += "\n## Letters\n\n| letter | meaning |\n|---|---|\n";
    for (letter, meaning) in crate::plan::shape::GLOSSARY {
        all += &format!("| `{letter}` | {meaning} |\n");
    }
    for table in Op::TABLES {
        all += &format!("\n## {}\n\n{}\n\n", table.op, line(&[table.summary]));
        all += "| setting | letter | type | default | |\n|---|---|---|---|---|\n";
        for (field, default) in settings(table) {
            let letter = field.letter.map_or(String::new(), |letter| format!("`{letter}`"));
            let (kind, range, doc) = (kind(field), range(field), field.doc());
            all += &format!("| `{}` | {letter} | {kind}{range} | `{default}` | {doc} |\n", field.name);
        }
        all += "\n| argument | shape | type | |\n|---|---|---|---|\n";
        for argument in table.arguments {
            let access = match argument.access {
                Access::Read => "read",
                Access::Write => "written",
                Access::ReadWrite => "read and written",
            };
            let when = argument.when().map_or(String::new(), |flag| format!(", with `{flag}`"));
            let (name, dtype) = (argument.name, argument.dtype);
            all += &format!("| `{name}` | {} | {dtype} | {access}{when} |\n", shapes(table, argument));
        }
        for (of, name) in table.gradients {
            all += &format!("| `{name}` | as `{of}` | f32 | gradient |\n");
        }
    }
    all
}

/// The shapes of an argument, with letters where sizes have some.
fn shapes(table: &Table, argument: &Argument) -> String {
    let size = |size: &&str| {
        let inner = size.trim_start_matches('(').trim_end_matches(')');
        let plain = if size.len() == inner.len() + 2 && !inner.contains(['(', ')']) { inner } else { size };
        let words = plain.split(' ').map(|word| table.field(word).and_then(|field| field.letter).unwrap_or(word));
        words.collect::<Vec<_>>().join(" ")
    };
    let forms = argument.forms.iter().map(|form| {
        let when = form.when.filter(|_| argument.when().is_none());
        let with = when.map_or(String::new(), |flag| format!(" with `{flag}`"));
        format!("`[{}]`{with}", form.sizes.iter().map(size).collect::<Vec<_>>().join(", "))
    });
    forms.collect::<Vec<_>>().join(" or ")
}

/// Writes the TypeScript types of all ops: an interface of settings and the names of arguments and of inputs for each.
pub fn typescript() -> String {
    let mut all = String::from("// Made from the tables of the ops when the package is built.\n");
    let (mut settings_of, mut arguments_of, mut inputs_of) = (String::new(), String::new(), String::new());
    for table in Op::TABLES {
        let name = camel(table.op);
        all += &format!("\n/** {} */\nexport interface {name}Settings {{\n", line(&[table.summary]));
        for (field, default) in settings(table) {
            let union = match field.kind {
                Type::Count | Type::Number => "number".into(),
                Type::Flag => "boolean".into(),
                Type::Word(_) | Type::Format => {
                    field.choices().iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" | ")
                }
            };
            let none = if field.optional { " | null" } else { "" };
            let range = range(field);
            let range = range.trim_start_matches(", ");
            let range = if range.is_empty() { String::new() } else { format!(" Range: {range}.") };
            all += &format!("  /** {}{range} Default: `{default}`. */\n", field.doc());
            all += &format!("  readonly {}?: {union}{none} | undefined;\n", field.name);
            if let Some(letter) = field.letter {
                all += &format!("  /** The same as `{}`. */\n", field.name);
                all += &format!("  readonly {letter}?: {union}{none} | undefined;\n");
            }
        }
        all += "}\n";
        settings_of += &format!("  {}: {name}Settings;\n", table.op);
        let names: Vec<(&str, bool)> = arguments(table).collect();
        let union = |all: bool| {
            let names = names.iter().filter(|(_, read)| all || *read).map(|(name, _)| format!("\"{name}\""));
            names.collect::<Vec<_>>().join(" | ")
        };
        arguments_of += &format!("  {}: {};\n", table.op, union(true));
        inputs_of += &format!("  {}: {};\n", table.op, union(false));
    }
    all += &format!("\n/** The settings of every op. */\nexport interface OpSettings {{\n{settings_of}}}\n");
    all += &format!("\n/** The names of every op's arguments. */\nexport interface OpArguments {{\n{arguments_of}}}\n");
    all += &format!(
        "\n/** The names of the arguments that an op may read. */\nexport interface OpInputs {{\n{inputs_of}}}\n"
    );
    all + "\nexport type OpName = keyof OpSettings;\n"
}

/// The names of all arguments, and whether an op may read them. Gradients read what the forward pass wrote.
fn arguments(table: &'static Table) -> impl Iterator<Item = (&'static str, bool)> {
    let writes = |name: &str| table.arguments.iter().any(|other| other.name == name && other.access == Access::Write);
    let own = table.arguments.iter().map(|a| (a.name, a.access != Access::Write || !table.gradients.is_empty()));
    own.chain(table.gradients.iter().map(move |&(of, name)| (name, writes(of))))
}

/// `selected_attention` as `SelectedAttention`.
fn camel(name: &str) -> String {
    name.split('_').map(|part| [&part[..1].to_ascii_uppercase(), &part[1..]].concat()).collect()
}
