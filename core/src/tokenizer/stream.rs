//! Decoding one token at a time.

use super::Tokenizer;

/// What an incomplete character decodes to.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Tokens after which an incomplete character is taken for broken bytes: no character has more than 4 bytes.
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
        let whole = text.trim_end_matches(REPLACEMENT);
        let complete = whole.len() == text.len() || self.ids.len() - self.given > MOST_HELD;
        let end = if complete { text.len() } else { whole.len() };
        let piece = text.get(self.cut..end).filter(|piece| !piece.is_empty()).map(str::to_owned);
        if !complete {
            self.cut = self.cut.max(end);
        } else if piece.is_some() {
            self.ids.drain(..self.given);
            self.given = self.ids.len();
            self.cut = self.text(&self.ids).len();
        } else {
            // An id without text, such as a special token that is skipped.
            self.ids.pop();
        }
        piece
    }

    /// What is still held back at the end of the text: an incomplete character, as U+FFFD.
    pub fn finish(self) -> Option<String> {
        let text = self.text(&self.ids);
        text.get(self.cut..).filter(|piece| !piece.is_empty()).map(str::to_owned)
    }

    /// A rule that fails on the ids at hand leaves them without text until more follow.
    fn text(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, self.skip_special).unwrap_or_default()
    }
}
