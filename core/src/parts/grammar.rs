//! Calls of tools as a grammar.

use super::{Format, ToolChoice, Tools};
use crate::constrain::{Constraint, quoted, with_blanks};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Calls of one answer at most, where all of it must be calls.
const MOST_CALLS: usize = 16;

/// How a call is spelled: marks and texts in their order.
struct Shape {
    /// In front of the first call.
    lead: &'static [&'static str],
    /// The mark that begins a call; empty if nothing tells it from text.
    mark: &'static str,
    before: &'static [&'static str],
    form: Form,
    behind: &'static [&'static str],
    /// Behind the last call.
    tail: &'static [&'static str],
    /// Between two calls; `None` if there is only one.
    joint: Option<&'static str>,
}

enum Form {
    /// An object with the name and, under this key, the arguments.
    Object(&'static str),
    /// The name, this, and the arguments.
    Named(&'static [&'static str]),
}

const HERMES: Shape = Shape {
    lead: &[],
    mark: "<tool_call>",
    before: &["\n"],
    form: Form::Object("arguments"),
    behind: &["\n", "</tool_call>"],
    tail: &[],
    joint: Some("\n"),
};
const LLAMA3: Shape =
    Shape { mark: "", before: &[], form: Form::Object("parameters"), behind: &[], joint: None, ..HERMES };
const PHI4: Shape =
    Shape { mark: "<|tool_call|>", before: &["["], behind: &["]", "<|/tool_call|>"], joint: None, ..HERMES };
const MISTRAL_LIST: Shape = Shape { mark: "[TOOL_CALLS]", before: &["["], behind: &["]"], joint: None, ..HERMES };
const MISTRAL: Shape =
    Shape { mark: "[TOOL_CALLS]", before: &[], form: Form::Named(&["[ARGS]"]), behind: &[], joint: Some(""), ..HERMES };
const KIMI: Shape = Shape {
    lead: &["<|tool_calls_section_begin|>"],
    mark: "<|tool_call_begin|>",
    before: &["functions."],
    form: Form::Named(&[":0", "<|tool_call_argument_begin|>"]),
    behind: &["<|tool_call_end|>"],
    tail: &["<|tool_calls_section_end|>"],
    joint: None,
};
const FUNCTION: Shape = Shape {
    mark: "<function=",
    before: &[],
    form: Form::Named(&[">"]),
    behind: &["</function>"],
    joint: Some("\n"),
    ..HERMES
};
const FUNCTIONARY: Shape =
    Shape { mark: "", before: &[], form: Form::Named(&["\n"]), behind: &[], joint: None, ..HERMES };
const HARMONY: Shape = Shape {
    lead: &["<|channel|>", "commentary "],
    mark: "to=functions.",
    before: &[],
    form: Form::Named(&[" ", "<|constrain|>", "json", "<|message|>"]),
    behind: &[],
    joint: None,
    ..HERMES
};

impl Format {
    fn shape(self, control: impl Fn(&str) -> Option<u32>) -> Result<Shape> {
        Ok(match self {
            Format::Hermes => HERMES,
            Format::Llama3 => LLAMA3,
            Format::Phi4 => PHI4,
            Format::Mistral if control("[ARGS]").is_some() => MISTRAL,
            Format::Mistral => MISTRAL_LIST,
            Format::Kimi => KIMI,
            Format::Function => FUNCTION,
            Format::Functionary => FUNCTIONARY,
            Format::Harmony => HARMONY,
            other => {
                let reason = format!("calls in the format {other:?} can't be constrained yet: use the choice auto");
                return Err(Error::constraint("tools", reason));
            }
        })
    }

    /// The constraint that a choice of tools sets on an answer; `None` if it sets none. `control` gives the id of a control
    /// token by its name.
    ///
    /// # Errors
    /// `Constraint` for a format whose calls are not JSON, for no tools, and for a name that none of them has.
    pub fn constraint(
        self,
        tools: &Tools,
        choice: &ToolChoice,
        control: impl Fn(&str) -> Option<u32>,
    ) -> Result<Option<Constraint>> {
        if matches!(choice, ToolChoice::Auto | ToolChoice::None) {
            return Ok(None);
        }
        let shape = self.shape(&control)?;
        let wanted = |name: &str| !matches!(choice, ToolChoice::Named(wanted) if wanted != name);
        let functions: Vec<(&str, Value)> = tools.functions().filter(|(name, _)| wanted(name)).collect();
        if functions.is_empty() {
            let names: Vec<&str> = tools.functions().map(|(name, _)| name).collect();
            let reason = format!("no tool fits the choice {choice:?}, there are: {}", names.join(", "));
            return Err(Error::constraint("tools", reason));
        }
        let spelled = |texts: &[&str]| {
            let spell = |text: &&str| match control(text) {
                Some(id) => format!("<[{id}]> "),
                None if text.is_empty() => String::new(),
                None => format!("{} ", quoted(text)),
            };
            texts.iter().map(spell).collect::<String>()
        };
        let (lead, mark, tail) = (spelled(shape.lead), spelled(&[shape.mark]), spelled(shape.tail));
        let mut grammar = match (choice, shape.joint) {
            (ToolChoice::Strict, _) if shape.mark.is_empty() => return Ok(None),
            (ToolChoice::Strict, _) => "start: call\n".into(),
            (ToolChoice::Required, Some(joint)) => {
                let joint = spelled(&[joint]);
                format!("start: {lead}{mark}call ({joint}{mark}call){{0,{}}} {tail}\n", MOST_CALLS - 1)
            }
            _ => format!("start: {lead}{mark}call {tail}\n"),
        };
        let rules: Vec<String> = (0..functions.len()).map(|at| format!("c{at}")).collect();
        let _ = writeln!(grammar, "call: {}", rules.join(" | "));
        let (before, behind) = (spelled(shape.before), spelled(shape.behind));
        for (rule, (name, parameters)) in rules.iter().zip(functions) {
            let call = match shape.form {
                Form::Object(key) => format!("%json {} ", with_blanks(object(name, key, parameters))),
                Form::Named(between) => {
                    format!("{}{}%json {} ", spelled(&[name]), spelled(between), with_blanks(parameters))
                }
            };
            let _ = writeln!(grammar, "{rule}: {before}{call}{behind}");
        }
        let constraint = Constraint::calls(grammar)?;
        Ok(Some(if *choice == ToolChoice::Strict { constraint.after_each(shape.mark) } else { constraint }))
    }
}

/// The schema of an object with a name and arguments. Definitions of the arguments' schema move to its top, where its
/// references look for them.
fn object(name: &str, key: &str, mut parameters: Value) -> Value {
    let mut schema = Map::new();
    for definitions in ["$defs", "definitions"] {
        if let Some(found) = parameters.as_object_mut().and_then(|map| map.remove(definitions)) {
            schema.insert(definitions.into(), found);
        }
    }
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), json!({"name": {"const": name}, key: parameters}));
    schema.insert("required".into(), json!(["name", key]));
    schema.insert("additionalProperties".into(), false.into());
    Value::Object(schema)
}
