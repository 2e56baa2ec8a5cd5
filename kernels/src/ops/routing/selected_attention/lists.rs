//! Lists of queries and keys, and the places of each token.

use super::{NAME, Spec};
use crate::cpu::Args;
use crate::error::Result;
use crate::plan::shape::require;
use alloc::{format, vec, vec::Vec};
use core::ops::Range;

/// Checks that lists are valid: `ranges [.., C, 2]` within `entries` places and disjoint, `members [.., entries]`
/// below `tokens` and ascending in each range.
///
/// # Errors
/// `Shape` for the first violation.
pub fn check_lists(members: &[u32], ranges: &[u32], clusters: u32, entries: u32, tokens: u32) -> Result<()> {
    let (clusters, entries) = (clusters as usize, entries as usize);
    let units = ranges.len() / (2 * clusters).max(1);
    let whole = ranges.len() == 2 * clusters * units;
    require(whole, NAME, "ranges", format!("two bounds for each of {clusters} lists"), ranges.len())?;
    let places = units.checked_mul(entries) == Some(members.len());
    require(places, NAME, "members", format!("{entries} places for each of {units} heads"), members.len())?;
    for unit in 0..units {
        let mut taken = vec![false; entries];
        for range in ranges[2 * clusters * unit..][..2 * clusters].chunks_exact(2) {
            let (begin, end) = (range[0] as usize, range[1] as usize);
            let inside = begin <= end && end <= entries;
            require(inside, NAME, "ranges", format!("bounds in order up to {entries}"), format!("{range:?}"))?;
            let apart = !taken[begin..end].contains(&true);
            require(apart, NAME, "ranges", "lists that share no place", format!("{range:?}"))?;
            taken[begin..end].fill(true);
            let list = &members[unit * entries..][begin..end];
            let below = list.iter().find(|m| **m >= tokens);
            require(below.is_none(), NAME, "members", format!("below {tokens}"), format!("{below:?}"))?;
            let ascending = list.windows(2).find(|pair| pair[0] >= pair[1]);
            require(ascending.is_none(), NAME, "members", "ascending in a list", format!("{ascending:?}"))?;
        }
    }
    Ok(())
}

/// Lists of one side, queries or keys.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    members: &'a [u32],
    ranges: &'a [u32],
    pub(crate) clusters: usize,
    /// Places per head.
    pub(crate) entries: usize,
    tokens: u32,
}

impl<'a> Side<'a> {
    /// Returns the lists of queries and those of keys.
    pub(crate) fn both(spec: &Spec, args: &Args<'a>) -> [Self; 2] {
        let side = |members, ranges, entries: u32, tokens| Self {
            members: args.u32(members),
            ranges: args.u32(ranges),
            clusters: spec.clusters as usize,
            entries: entries as usize,
            tokens,
        };
        let queries = side("members", "ranges", spec.entries, spec.tokens);
        match spec.separate() {
            true => [queries, side("k_members", "k_ranges", spec.key_entries(), spec.key_tokens())],
            false => [queries; 2],
        }
    }

    /// Returns the places of list `c` of a head, counted over all heads.
    pub(crate) fn places(&self, unit: usize, c: usize) -> Range<usize> {
        let at = 2 * (unit * self.clusters + c);
        let end = (self.ranges[at + 1] as usize).min(self.entries);
        let begin = (self.ranges[at] as usize).min(end);
        unit * self.entries + begin..unit * self.entries + end
    }

    /// Returns the token at a place, or `None` if the place holds no valid token.
    pub(crate) fn token(&self, place: usize) -> Option<usize> {
        Some(self.members[place]).filter(|m| *m < self.tokens).map(|m| m as usize)
    }

    /// Iterates over the `(place, token)` of list `c` of a head.
    pub(crate) fn list(self, unit: usize, c: usize) -> impl Iterator<Item = (usize, usize)> {
        self.places(unit, c).filter_map(move |place| self.token(place).map(|token| (place, token)))
    }

    /// Returns whether two lists of a head share a place, in which case tasks would write the same memory.
    pub(crate) fn overlap(&self, unit: usize) -> bool {
        let mut lists: Vec<_> = (0..self.clusters).map(|c| self.places(unit, c)).filter(|l| !l.is_empty()).collect();
        lists.sort_unstable_by_key(|list| list.start);
        lists.windows(2).any(|pair| pair[1].start < pair[0].end)
    }

    /// Returns the places of every token of a head.
    pub(crate) fn inverse(self, unit: usize) -> Inverse {
        let tokens = self.tokens as usize;
        let mut starts = vec![0u32; tokens + 1];
        let all = || (0..self.clusters).flat_map(move |c| self.list(unit, c));
        all().for_each(|(_, token)| starts[token + 1] += 1);
        (0..tokens).for_each(|t| starts[t + 1] += starts[t]);
        let mut next = starts.clone();
        let mut places = vec![0; starts[tokens] as usize];
        for (place, token) in all() {
            places[next[token] as usize] = place as u32;
            next[token] += 1;
        }
        Inverse { starts, places }
    }
}

/// Places of every token, in the order of the lists.
pub(crate) struct Inverse {
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl Inverse {
    pub(crate) fn of(&self, token: usize) -> &[u32] {
        &self.places[self.starts[token] as usize..self.starts[token + 1] as usize]
    }
}

/// Draws random lists with gaps between them. Some are empty, and the last may run out of places.
pub(crate) fn draw(
    units: usize,
    clusters: usize,
    entries: usize,
    tokens: u32,
    rng: &mut crate::rng::Rng,
) -> (Vec<u32>, Vec<u32>) {
    let (mut members, mut ranges) = (vec![u32::MAX; units * entries], Vec::new());
    for unit in 0..units {
        let mut place = 0;
        for c in 0..clusters {
            // Each list gets an even share of the places, more or less.
            let most = (entries * (c + 1) / clusters).saturating_sub(place);
            let begin = place + usize::from(most > 2 && rng.below(3) == 0);
            let wanted = if rng.below(6) == 0 { 0 } else { entries * (c + 1) / clusters - begin };
            place = begin;
            // The probability per token fills the list on average.
            for token in 0..tokens {
                if place < begin + wanted && rng.below(tokens) as usize <= wanted + wanted / 4 {
                    members[unit * entries + place] = token;
                    place += 1;
                }
            }
            ranges.extend([begin as u32, place as u32]);
        }
    }
    (members, ranges)
}
