//! Stop strings in a text that arrives in pieces.

use crate::error::{Error, Result};
use std::sync::Arc;

/// Finds stop strings, and holds back text that may be the beginning of one.
///
/// The first stop string that is complete ends the text, however the text was cut into pieces. If two are complete at the
/// same character, it is the longer one.
#[derive(Clone, Debug)]
pub(super) struct StopStrings {
    stops: Arc<[String]>,
    /// Text that was taken in and not given out: the beginning of a stop string.
    held: String,
}

impl StopStrings {
    /// # Errors
    /// `OutOfRange` for an empty string, with which every text would end before it begins.
    pub(super) fn new(stops: &[String]) -> Result<Self> {
        match stops.iter().any(String::is_empty) {
            true => Err(Error::empty("stop")),
            false => Ok(Self { stops: stops.into(), held: String::new() }),
        }
    }

    /// Takes in a piece of text. Returns the text that is certain, and the stop string if one is complete.
    pub(super) fn push(&mut self, piece: &str) -> (String, Option<String>) {
        if self.stops.is_empty() {
            return (piece.into(), None);
        }
        let known = self.held.len();
        self.held.push_str(piece);
        let ends = self.held[known..].char_indices().map(|(at, c)| known + at + c.len_utf8());
        for end in ends {
            let complete = self.stops.iter().filter(|stop| self.held[..end].ends_with(*stop));
            if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
                let (stop, text) = (stop.clone(), self.held[..end - stop.len()].to_owned());
                self.held.clear();
                return (text, Some(stop));
            }
        }
        let certain = self.certain();
        (self.held.drain(..certain).collect(), None)
    }

    /// Bytes in front of the longest end that is the beginning of a stop string.
    fn certain(&self) -> usize {
        let begins = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        self.held.char_indices().map(|(at, _)| at).find(begins).unwrap_or(self.held.len())
    }

    /// The text that is still held back, where no more follows.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, on a whole text.
    fn expected(text: &str, stops: &[String]) -> (String, Option<String>) {
        for end in 0..=text.len() {
            let complete = stops.iter().filter(|stop| text.is_char_boundary(end) && text[..end].ends_with(*stop));
            if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
                return (text[..end - stop.len()].into(), Some(stop.clone()));
            }
        }
        (text.into(), None)
    }

    proptest! {
        #[test]
        fn stop_strings_do_not_depend_on_pieces(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
        ) {
            let mut matcher = StopStrings::new(&stops).unwrap();
            let (mut text, mut stopped) = (String::new(), None);
            for piece in &pieces {
                let (certain, stop) = matcher.push(piece);
                text.push_str(&certain);
                // Nothing that was given out can be the beginning of a stop string that is complete later.
                if stop.is_some() {
                    stopped = stop;
                    break;
                }
            }
            if stopped.is_none() {
                text.push_str(&matcher.finish());
            }
            prop_assert_eq!((text, stopped), expected(&pieces.concat(), &stops));
        }
    }

    #[test]
    fn stop_string_is_held_back_until_it_is_decided() {
        let mut matcher = StopStrings::new(&["\n\nUser:".into()]).unwrap();
        assert_eq!(matcher.push("Yes.\n"), ("Yes.".into(), None));
        assert_eq!(matcher.push("\nUse"), (String::new(), None));
        assert_eq!(matcher.push("d"), ("\n\nUsed".into(), None));
        assert_eq!(matcher.push("\n\nUser: no"), (String::new(), Some("\n\nUser:".into())));
    }
}
