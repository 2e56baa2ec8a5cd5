//! Drafts out of the text itself.

use super::draft::{Draft, Drafting};
use crate::cache::NO_TOKEN;
use crate::sample::Sampler;

/// A match of fewer tokens is chance.
const SHORTEST: usize = 2;
/// A longer match makes no better draft.
const LONGEST: usize = 32;

/// Prompt lookup: finds the last tokens of a text at an earlier place, and drafts what followed there.
pub(super) struct Lookup;

impl Draft for Lookup {
    fn draft<'a>(&'a mut self, tokens: &'a [u32], most: usize, _: Sampler) -> Drafting<'a> {
        let found = followed(tokens, most).to_vec();
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// The tokens behind the longest earlier match of the end of a text, the latest one of equal length.
fn followed(tokens: &[u32], most: usize) -> &[u32] {
    let mut best = (0, 0);
    for end in (1..tokens.len()).rev() {
        let same = tokens[..end].iter().rev().zip(tokens.iter().rev());
        let len = same.take(LONGEST).take_while(|(a, b)| a == b && **a != NO_TOKEN).count();
        if len > best.0 {
            best = (len, end);
            if len == LONGEST {
                break;
            }
        }
    }
    let (len, end) = best;
    let behind = if len >= SHORTEST { &tokens[end..] } else { &[] };
    let known = behind.iter().position(|id| *id == NO_TOKEN).unwrap_or(behind.len());
    &behind[..known.min(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_drafts_what_followed_the_longest_match() {
        assert_eq!(followed(&[1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 2), [4, 9]);
        assert_eq!(followed(&[7, 2, 3, 4, 8, 2, 3, 5, 6, 2, 3], 9), [5, 6, 2, 3]);
        // The match may overlap the end.
        assert_eq!(followed(&[5, 5, 5, 5], 3), [5]);
        assert!(followed(&[1, 2, 3, 1], 4).is_empty());
        assert!(followed(&[], 4).is_empty());
        assert_eq!(followed(&[1, 2, NO_TOKEN, 3, 1, 2], 4), [0u32; 0]);
    }
}
