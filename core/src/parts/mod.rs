//! The parts of an answer: text, reasoning, calls of tools.
//!
//! A [`Format`] is how a family of models writes its calls, and [`Reasoning`] how it marks its thoughts; both are found by
//! the chat template. A [`Splitter`] takes an answer in pieces and gives its [`Part`]s as soon as they are certain. Its work
//! is linear in the length of the answer, whatever the answer holds.

mod calls;
mod format;
mod gemma;
mod grammar;
mod head;
mod object;
mod python;
mod split;
mod xml;

pub use calls::{Answer, ToolCall, ToolChoice, Tools};
pub use format::{Format, Reasoning};
pub use split::Splitter;

/// A part of an answer, or a piece of one.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// Text of the answer.
    Text(String),
    /// Text that leads to the answer and is no part of it.
    Reasoning(String),
    /// A call of a tool begins.
    Call {
        /// The tool.
        name: String,
        /// The model's id of the call, if it gives one.
        id: Option<String>,
    },
    /// A piece of the arguments of the call that has begun last: together they are an object of JSON.
    Arguments(String),
    /// Text that began as a call and is none.
    Broken {
        /// The text, empty if it was given out already.
        text: String,
        /// Why the text is no call.
        reason: String,
    },
}
