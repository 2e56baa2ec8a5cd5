//! Splits answers into parts.

mod calls;

use super::format::{Body, Convert, Format, Head, Opening, Reasoning};
use super::head::{Channel, message};
use super::object::{CallObject, Nesting};
use super::{Part, Tools};
use std::mem::{replace, take};

/// Bytes of a head, or of the beginning of a call without a mark, at most.
const MOST_HEAD: usize = 4096;

/// Splits an answer, which arrives in pieces, into text, reasoning and calls.
///
/// ```
/// use foveate_core::parts::{Format, Part, Reasoning, Splitter, Tools};
///
/// let reasoning = Some(Reasoning { begin: "<think>", end: "</think>" });
/// let mut splitter = Splitter::new(Some(Format::Hermes), reasoning, Tools::default());
/// assert_eq!(splitter.push("<think>Easy.</th"), [Part::Reasoning("Easy.".into())]);
/// assert_eq!(splitter.push("ink>\nYes."), [Part::Text("Yes.".into())]);
/// assert_eq!(splitter.finish(), []);
/// ```
#[derive(Clone)]
pub struct Splitter {
    format: Option<Format>,
    reasoning: Option<Reasoning>,
    tools: Tools,
    state: State,
    /// Text that was taken in and is not certain.
    held: String,
    /// White space that follows is left out.
    trims: bool,
    /// Nothing but white space was taken in.
    fresh: bool,
    parts: Vec<Part>,
}

/// A call that is being read.
#[derive(Clone, Copy)]
struct Call {
    end: &'static str,
    /// The call has no mark: if it is none, it is text.
    bare: bool,
    /// Some call was complete.
    any: bool,
}

#[derive(Clone)]
enum State {
    Text,
    /// Up to this mark.
    Reasoning(&'static str),
    /// Up to a head, an object, or a call in Python.
    Calls(Call, Option<Head>),
    Head(Call, Head),
    /// `given` bytes of the arguments were given out; `None` until the call is known.
    Object(Call, CallObject, Option<usize>),
    /// Arguments behind a head, up to the end of an object.
    Arguments(Call, Nesting),
    /// Up to the mark that ends a call.
    Closing(Call),
    Whole(Call, Convert, Opened),
    /// The head of a message, in Harmony.
    Message,
}

/// How far a call that is read as a whole was searched for its end.
#[derive(Clone, Copy, Default)]
struct Opened {
    searched: usize,
    ends: u32,
}

impl Splitter {
    /// Splits by a format of calls and marks of reasoning. The types of arguments that are written without quotes are those
    /// of `tools`.
    pub fn new(format: Option<Format>, reasoning: Option<Reasoning>, tools: Tools) -> Self {
        let state = if format == Some(Format::Harmony) { State::Message } else { State::Text };
        let (held, parts) = (String::new(), Vec::new());
        Self { format, reasoning, tools, state, held, trims: false, fresh: true, parts }
    }

    /// Takes what the prompt ends with: an answer may begin within reasoning, or within the mark of a call.
    pub fn begin_behind(&mut self, prompt: &str) {
        let prompt = prompt.trim_end();
        if let Some(reasoning) = self.reasoning.filter(|reasoning| prompt.ends_with(reasoning.begin)) {
            (self.state, self.trims) = (State::Reasoning(reasoning.end), true);
        } else if self.format == Some(Format::Functionary) && prompt.ends_with(">>>") {
            self.held.push_str(">>>");
        }
    }

    /// True within reasoning.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Reasoning(_))
    }

    /// Every mark: where one is a control token, its spelling belongs to the pieces.
    pub fn marks(&self) -> Vec<&'static str> {
        let reasoning = self.reasoning.map(|marks| [marks.begin, marks.end]);
        reasoning.into_iter().flatten().chain(self.format.into_iter().flat_map(Format::marks)).collect()
    }

    /// Returns the mark that ends reasoning, as a model would write it.
    pub fn end_of_reasoning(&self) -> Option<String> {
        match (self.format, self.reasoning) {
            (Some(Format::Harmony), _) => Some("<|end|><|start|>assistant<|channel|>final<|message|>".into()),
            (_, reasoning) => reasoning.map(|reasoning| format!("\n{}\n\n", reasoning.end)),
        }
    }

    /// Takes a piece of the answer. Returns the parts that are certain with it.
    pub fn push(&mut self, piece: &str) -> Vec<Part> {
        if !piece.is_empty() {
            self.held.push_str(piece);
            self.run(false);
        }
        take(&mut self.parts)
    }

    /// Returns the parts that were held back, where the answer ends.
    pub fn finish(&mut self) -> Vec<Part> {
        self.run(true);
        take(&mut self.parts)
    }

    fn run(&mut self, last: bool) {
        // Each turn takes something from what is held, or changes the state, or is the last.
        while self.step(last) {}
    }

    /// Returns whether there is more to do.
    fn step(&mut self, last: bool) -> bool {
        let state = match &self.state {
            // These states may hold much text, so they are moved instead of cloned. Their functions set them again if they need
            // more of the answer.
            State::Object(..) | State::Arguments(..) | State::Whole(..) => replace(&mut self.state, State::Text),
            small => small.clone(),
        };
        match state {
            State::Text => self.text(last),
            State::Reasoning(end) => self.thoughts(end, last),
            State::Calls(call, head) => self.calls(call, head, last),
            State::Head(call, head) => self.head(call, head, last),
            State::Object(call, object, given) => self.object(call, object, given, last),
            State::Arguments(call, nesting) => self.arguments(call, nesting, last),
            State::Closing(call) => self.closing(call, last),
            State::Whole(call, convert, opened) => self.whole(call, convert, opened, last),
            State::Message => self.message(last),
        }
    }

    /// Gives out the first bytes of what is held.
    fn give(&mut self, len: usize, part: fn(String) -> Part) {
        let text: String = self.held.drain(..len).collect();
        self.fresh &= text.trim().is_empty();
        match (self.parts.last_mut(), part(text)) {
            (_, Part::Text(text) | Part::Reasoning(text) | Part::Arguments(text)) if text.is_empty() => {}
            (Some(Part::Text(before)), Part::Text(text))
            | (Some(Part::Reasoning(before)), Part::Reasoning(text))
            | (Some(Part::Arguments(before)), Part::Arguments(text)) => before.push_str(&text),
            (_, part) => self.parts.push(part),
        }
    }

    fn trim(&mut self) {
        let blank = self.held.len() - self.held.trim_start().len();
        self.held.drain(..blank);
    }

    fn text(&mut self, last: bool) -> bool {
        if self.trims {
            self.trim();
            self.trims = self.held.is_empty();
        }
        if let Some(body) = self.format.filter(|_| self.fresh).and_then(Format::bare) {
            match self.held.trim_start().chars().next() {
                None if !last => return false,
                Some('{' | '[') => {
                    self.trim();
                    return self.open(Opening { text: "", body, end: "" }, true);
                }
                _ => {}
            }
        }
        let openings = self.format.map_or(&[][..], Format::openings);
        let dropped = self.format.map_or(&[][..], Format::dropped);
        let begin = self.reasoning.map(|reasoning| reasoning.begin);
        let marks = openings.iter().map(|opening| opening.text).chain(dropped.iter().copied()).chain(begin);
        // The first mark, and of several there the longest.
        let found = marks.clone().filter_map(|mark| Some((self.held.find(mark)?, mark)));
        let Some((at, mark)) = found.min_by_key(|(at, mark)| (*at, usize::MAX - mark.len())) else {
            let certain = if last { self.held.len() } else { certain(&self.held, marks) };
            self.give(certain, Part::Text);
            return false;
        };
        // A longer mark may still begin there.
        let longer = marks.filter(|other| other.len() > mark.len()).any(|other| other.starts_with(&self.held[at..]));
        self.give(at, Part::Text);
        if longer && !last {
            return false;
        }
        self.held.drain(..mark.len());
        self.fresh = false;
        self.trims = true;
        if let Some(opening) = openings.iter().find(|opening| opening.text == mark) {
            return self.open(*opening, false);
        }
        if let Some(reasoning) = self.reasoning.filter(|reasoning| reasoning.begin == mark) {
            self.state = State::Reasoning(reasoning.end);
        }
        true
    }

    fn open(&mut self, opening: Opening, bare: bool) -> bool {
        let call = Call { end: opening.end, bare, any: false };
        self.fresh = false;
        self.state = match opening.body {
            Body::Calls(head) => State::Calls(call, head),
            Body::Whole(convert) => State::Whole(call, convert, Opened::default()),
            Body::Message => State::Message,
        };
        true
    }

    fn thoughts(&mut self, end: &'static str, last: bool) -> bool {
        if self.trims {
            self.trim();
            self.trims = self.held.is_empty();
        }
        if let Some(at) = self.held.find(end) {
            // The line break in front of the mark is none of the model's thoughts.
            let text = self.held[..at].trim_end_matches('\n').len();
            self.give(text, Part::Reasoning);
            self.held.drain(..at - text + end.len());
            (self.state, self.trims, self.fresh) = (State::Text, true, true);
            return true;
        }
        let certain = if last { self.held.len() } else { certain(&self.held, [end].into_iter()) };
        let text = if last { certain } else { self.held[..certain].trim_end_matches('\n').len() };
        self.give(text, Part::Reasoning);
        false
    }

    fn message(&mut self, last: bool) -> bool {
        const MARK: &str = "<|message|>";
        let Some(at) = self.held.find(MARK) else {
            if last || self.held.len() > MOST_HEAD {
                // No head: the model has left its format.
                self.state = State::Text;
                self.give(self.held.len(), Part::Text);
            }
            return false;
        };
        let channel = message(&self.held[..at]);
        self.held.drain(..at + MARK.len());
        self.state = match channel {
            Channel::Answer => State::Text,
            Channel::Analysis => State::Reasoning("<|end|>"),
            Channel::Call(name) => {
                self.parts.push(Part::Call { name, id: None });
                State::Arguments(Call { end: "<|call|>", bare: false, any: false }, Nesting::default())
            }
        };
        true
    }
}

/// Bytes in front of the longest end that is the beginning of a mark.
fn certain<'a>(text: &str, marks: impl Iterator<Item = &'a str> + Clone) -> usize {
    let longest = marks.clone().map(str::len).max().unwrap_or(0);
    let mut from = text.len().saturating_sub(longest);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let begins = |at: &usize| marks.clone().any(|mark| mark.starts_with(&text[*at..]));
    text[from..].char_indices().map(|(at, _)| from + at).find(begins).unwrap_or(text.len())
}
