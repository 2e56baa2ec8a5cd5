//! The states of a [`Splitter`] within a call.

use super::{Call, MOST_HEAD, Opened, Splitter, State};
use crate::parts::Part;
use crate::parts::format::{Convert, Format, Head, PYTHON};
use crate::parts::object::{CallObject, Nesting};

/// Bytes of a call that is read as a whole at most.
const MOST_WHOLE: usize = 1 << 20;

/// Ends of a call that is read as a whole at most: all but the last stand within its strings.
const MOST_ENDS: u32 = 16;

impl Splitter {
    /// Back to text, behind a call.
    fn end_call(&mut self) -> bool {
        (self.state, self.trims) = (State::Text, true);
        true
    }

    /// Gives up a call: its first bytes are text.
    fn give_up(&mut self, call: Call, mut len: usize, reason: String) -> bool {
        while !self.held.is_char_boundary(len) {
            len += 1;
        }
        let text: String = self.held.drain(..len).collect();
        (self.state, self.trims, self.fresh) = (State::Text, false, false);
        self.parts.push(if call.bare && !call.any { Part::Text(text) } else { Part::Broken { text, reason } });
        true
    }

    pub(super) fn calls(&mut self, call: Call, head: Option<Head>, last: bool) -> bool {
        let skipped = |c: char| c.is_whitespace() || (call.any && matches!(c, ',' | ';'));
        let blank = self.held.len() - self.held.trim_start_matches(skipped).len();
        self.held.drain(..blank);
        let held = self.held.as_str();
        if held.is_empty() {
            return last && call.any && self.end_call();
        }
        let openings = self.format.map_or(&[][..], Format::openings).iter().map(|opening| opening.text);
        let mut marks = openings.chain([call.end]).filter(|mark| !mark.is_empty());
        if !call.end.is_empty() && held.starts_with(call.end) {
            self.held.drain(..call.end.len());
            return self.end_call();
        }
        if call.any && marks.clone().any(|mark| held.starts_with(mark)) {
            return self.end_call();
        }
        if !last && marks.any(|mark| mark.starts_with(held)) {
            return false;
        }
        match held.as_bytes()[0] {
            b'{' => self.state = State::Object(call, CallObject::default(), None),
            b'[' if !call.bare || held[1..].trim_start().starts_with('{') => {
                // A list of objects, or of calls in Python.
                match held[1..].trim_start().chars().next() {
                    Some('{') => drop(self.held.drain(..1)),
                    None if !last => return false,
                    _ => self.state = State::Whole(call, PYTHON, Opened::default()),
                }
            }
            b'[' if held[1..].trim_start().is_empty() && !last => return false,
            b']' if call.any => drop(self.held.drain(..1)),
            _ if call.any => return self.end_call(),
            b'[' if !held[1..].trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                let blank = held.len() - held[1..].trim_start().len();
                let next = held[blank..].chars().next().map_or(0, char::len_utf8);
                return self.give_up(call, blank + next, "a list is none of calls".into());
            }
            _ => {
                self.state = match head {
                    Some(head) => State::Head(call, head),
                    None => State::Whole(call, PYTHON, Opened::default()),
                }
            }
        }
        true
    }

    pub(super) fn head(&mut self, call: Call, head: Head, last: bool) -> bool {
        let Some(at) = self.held.find('{') else {
            let long = self.held.len() > MOST_HEAD;
            return (last || long) && self.give_up(call, self.held.len(), "a call has no arguments".into());
        };
        match head(&self.held[..at]).filter(|_| at <= MOST_HEAD) {
            Some((name, id)) => {
                self.held.drain(..at);
                self.parts.push(Part::Call { name, id });
                self.state = State::Arguments(call, Nesting::default());
                true
            }
            None => self.give_up(call, at + 1, "a call has no name".into()),
        }
    }

    pub(super) fn arguments(&mut self, call: Call, mut nesting: Nesting, last: bool) -> bool {
        for (at, byte) in self.held.bytes().enumerate() {
            match nesting.push(byte) {
                Ok(false) => {}
                Ok(true) => {
                    self.give(at + 1, Part::Arguments);
                    self.state = State::Closing(Call { any: true, ..call });
                    return true;
                }
                Err(reason) => return self.give_up(call, at + 1, reason.into()),
            }
        }
        self.give(self.held.len(), Part::Arguments);
        if last {
            self.parts.push(Part::Broken { text: String::new(), reason: "the arguments of a call do not end".into() });
            return self.end_call();
        }
        self.state = State::Arguments(call, nesting);
        false
    }

    pub(super) fn closing(&mut self, call: Call, last: bool) -> bool {
        let skipped = |c: char| c.is_whitespace() || c == '`';
        let blank = self.held.len() - self.held.trim_start_matches(skipped).len();
        self.held.drain(..blank);
        if self.held.is_empty() || (!last && self.held.len() < call.end.len() && call.end.starts_with(&*self.held)) {
            return false;
        }
        if !call.end.is_empty() && self.held.starts_with(call.end) {
            self.held.drain(..call.end.len());
        }
        self.end_call()
    }

    pub(super) fn object(&mut self, call: Call, mut object: CallObject, mut given: Option<usize>, last: bool) -> bool {
        let end = match object.read(&self.held) {
            Ok(end) => end,
            Err(reason) => {
                let reason = format!("a call is no object of JSON: {reason}");
                self.held.drain(..given.unwrap_or(0));
                return self.give_up(call, object.at - given.unwrap_or(0), reason);
            }
        };
        // Text of an object that was given out stays held, so that offsets stay valid.
        if let (Some(name), Some((from, to))) = (&object.name, object.arguments) {
            if given.is_none() {
                self.parts.push(Part::Call { name: name.clone(), id: object.id.clone() });
            }
            let (from, to) = (given.unwrap_or(from), to.unwrap_or(self.held.len()));
            if let Some(text) = self.held.get(from..to).filter(|text| !text.is_empty()) {
                self.parts.push(Part::Arguments(text.to_owned()));
            }
            given = Some(to.max(from));
        }
        let Some(end) = end else {
            let long = given.is_none() && self.held.len() > MOST_WHOLE;
            if last || long {
                self.held.drain(..given.unwrap_or(0));
                return self.give_up(call, self.held.len(), "the object of a call does not end".into());
            }
            self.state = State::Object(call, object, given);
            return false;
        };
        if given.is_none() {
            let arguments = object.quoted.take().unwrap_or_else(|| "{}".into());
            let Some(name) = object.name.take() else {
                return self.give_up(call, end, "a call has no name".into());
            };
            self.parts.push(Part::Call { name, id: object.id.take() });
            self.parts.push(Part::Arguments(arguments));
        } else if let Some((from, Some(to))) = object.arguments
            && let Err(error) = serde_json::from_str::<serde_json::Value>(&self.held[from..to])
        {
            let reason = format!("the arguments of a call are no JSON: {error}");
            self.parts.push(Part::Broken { text: String::new(), reason });
        }
        self.held.drain(..end);
        self.state = State::Calls(Call { any: true, ..call }, None);
        true
    }

    pub(super) fn whole(&mut self, call: Call, convert: Convert, mut opened: Opened, last: bool) -> bool {
        while !call.end.is_empty() && opened.ends < MOST_ENDS {
            let Some(at) = self.held[opened.searched..].find(call.end).map(|at| opened.searched + at) else {
                // The mark may be there in part.
                let mut from = self.held.len().saturating_sub(call.end.len()).max(opened.searched);
                while !self.held.is_char_boundary(from) {
                    from -= 1;
                }
                opened.searched = from;
                break;
            };
            opened = Opened { searched: at + call.end.len(), ends: opened.ends + 1 };
            if let Some(calls) = convert(&self.held[..at], &self.tools) {
                self.held.drain(..at + call.end.len());
                return self.converted(calls);
            }
        }
        if !last && self.held.len() <= MOST_WHOLE && opened.ends < MOST_ENDS {
            self.state = State::Whole(call, convert, opened);
            return false;
        }
        match convert(&self.held, &self.tools).filter(|_| self.held.len() <= MOST_WHOLE) {
            Some(calls) => {
                self.held.clear();
                self.converted(calls)
            }
            None => self.give_up(call, self.held.len(), "a call can't be read".into()),
        }
    }

    fn converted(&mut self, calls: Vec<(String, String)>) -> bool {
        for (name, arguments) in calls {
            self.parts.push(Part::Call { name, id: None });
            self.parts.push(Part::Arguments(arguments));
        }
        self.end_call()
    }
}
