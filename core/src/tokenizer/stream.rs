//! Decoding one token at a time.

use super::Tokenizer;

/// An incomplete character decodes to this.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// The most bytes, and so tokens, of one character. More tokens in waiting are not one character.
const MOST_HELD: usize = 4;

/// Turns generated ids into text, in pieces that are whole characters.
///
/// Decoders look at neighbours (a leading space, bytes of one character), so the ids of the last piece are decoded
/// again with those that follow, and what was already given out is cut off.
#[derive(Clone, Debug)]
pub struct Stream {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// The ids of the last piece, then those that are held back.
    ids: Vec<u32>,
    /// How many of `ids` belong to the last piece.
    given: usize,
    /// Bytes of the text of `ids` that were given out.
    cut: usize,
}

impl Stream {
    pub(super) fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        Stream { tokenizer, skip_special, ids: Vec::new(), given: 0, cut: 0 }
    }

    /// Takes the next id. Returns the text that is complete with it, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        self.ids.push(id);
        let text = self.text(&self.ids);
        let whole = text.trim_end_matches(REPLACEMENT).len();
        if whole == text.len() {
            let piece = self.piece(&text, whole);
            match piece {
                Some(_) => self.shift(),
                // An id without text, such as a special token that is skipped.
                None => drop(self.ids.pop()),
            }
            return piece;
        }
        if self.ids.len() - self.given > MOST_HELD {
            return self.settle(&text);
        }
        let piece = self.piece(&text, whole);
        self.cut = self.cut.max(whole);
        piece
    }

    /// Gives out broken bytes, all but the last: that one may still become a character.
    fn settle(&mut self, text: &str) -> Option<String> {
        let settled = text.len() - REPLACEMENT.len_utf8();
        let count = self.ids.len();
        let split = (1..MOST_HELD).map(|held| count - held).find(|&at| self.text(&self.ids[..at]) == text[..settled]);
        let piece = self.piece(text, if split.is_some() { settled } else { text.len() });
        match split {
            Some(at) => {
                self.ids.drain(..at);
                (self.given, self.cut) = (0, 0);
            }
            None => self.shift(),
        }
        piece
    }

    /// The text up to `end` that was not given out yet.
    fn piece(&self, text: &str, end: usize) -> Option<String> {
        text.get(self.cut..end).filter(|piece| !piece.is_empty()).map(str::to_owned)
    }

    /// Everything was given out: only the ids of the last piece are kept.
    fn shift(&mut self) {
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        self.cut = self.text(&self.ids).len();
    }

    /// Returns the rest of the text: an incomplete character, as U+FFFD.
    pub fn finish(self) -> Option<String> {
        let text = self.text(&self.ids);
        self.piece(&text, text.len())
    }

    /// A rule that fails on the ids at hand leaves them without text until more follow.
    fn text(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, self.skip_special).unwrap_or_default()
    }
}
