//! Beginnings of texts that are in the cache, found by the hashes of their blocks of tokens.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Values by the tokens that they hold, such as snapshots of sequences. The least recently used is evicted first.
#[derive(Debug)]
pub struct Prefixes<T> {
    block: usize,
    most: usize,
    entries: HashMap<u64, Entry<T>>,
    /// The entry that holds each beginning, by the hash of its whole blocks.
    blocks: HashMap<u64, u64>,
    /// Grows with every use.
    now: u64,
}

#[derive(Debug)]
struct Entry<T> {
    tokens: Vec<u32>,
    hashes: Vec<u64>,
    value: T,
    used: u64,
    /// True once a later prompt has begun with the tokens of this entry, or of an entry that this one replaced.
    found: bool,
}

impl<T> Prefixes<T> {
    /// At most `most` entries, compared in blocks of `block` tokens.
    pub fn new(block: u32, most: usize) -> Self {
        Self { block: block.max(1) as usize, most, entries: HashMap::new(), blocks: HashMap::new(), now: 0 }
    }

    /// The hash of each beginning of whole blocks, the shortest first.
    fn hashes(&self, tokens: &[u32]) -> Vec<u64> {
        let mut hash = 0;
        let blocks = tokens.chunks_exact(self.block);
        let of_blocks = blocks.map(|block| {
            let mut hasher = DefaultHasher::new();
            (hash, block).hash(&mut hasher);
            hash = hasher.finish();
            hash
        });
        of_blocks.collect()
    }

    /// Returns the value that holds most whole blocks from the beginning of `tokens`, and how many tokens these are.
    pub fn find(&mut self, tokens: &[u32]) -> Option<(usize, &T)> {
        let hashes = self.hashes(tokens);
        let (blocks, id) = (1..=hashes.len()).rev().find_map(|n| Some((n, *self.blocks.get(&hashes[n - 1])?)))?;
        let len = blocks * self.block;
        self.now += 1;
        let entry = self.entries.get_mut(&id)?;
        // Two texts may have one hash.
        if entry.tokens.get(..len) != tokens.get(..len) {
            return None;
        }
        (entry.used, entry.found) = (self.now, true);
        Some((len, &entry.value))
    }

    /// Keeps a value, unless all whole blocks of its tokens are kept already. Entries whose tokens are a beginning of these are
    /// dropped, since the new entry holds all of theirs.
    pub fn insert(&mut self, tokens: Vec<u32>, value: T) {
        let hashes = self.hashes(&tokens);
        let Some(last) = hashes.last() else { return };
        let whole = hashes.len() * self.block;
        let same = |entry: &Entry<T>| entry.tokens.get(..whole) == tokens.get(..whole);
        if self.blocks.get(last).and_then(|id| self.entries.get(id)).is_some_and(same) {
            return;
        }
        let shorter: Vec<u64> = hashes.iter().filter_map(|hash| self.blocks.get(hash).copied()).collect();
        let mut found = false;
        for id in shorter {
            if self.entries.get(&id).is_some_and(|entry| tokens.starts_with(&entry.tokens)) {
                found |= self.entries[&id].found;
                self.remove(id);
            }
        }
        while self.entries.len() >= self.most.max(1) {
            self.evict();
        }
        self.now += 1;
        let id = self.now;
        // A block that several entries share belongs to the oldest of them, so finding it marks always the same entry.
        for hash in &hashes {
            self.blocks.entry(*hash).or_insert(id);
        }
        self.entries.insert(id, Entry { tokens, hashes, value, used: id, found });
    }

    /// Drops the least recently used entry, and returns its value. While entries that were never found are more than a
    /// quarter, it is one of these: most texts end as no other does, and would push out the beginnings that many share.
    pub fn evict(&mut self) -> Option<T> {
        let fresh = self.entries.values().filter(|entry| !entry.found).count();
        let spares = 4 * fresh > self.entries.len();
        let candidates = self.entries.iter().filter(|(_, entry)| !(spares && entry.found));
        let oldest = candidates.min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id)?;
        self.remove(oldest)
    }

    fn remove(&mut self, id: u64) -> Option<T> {
        let entry = self.entries.remove(&id)?;
        for hash in &entry.hashes {
            if self.blocks.get(hash) == Some(&id) {
                self.blocks.remove(hash);
                // Another entry may begin with the same blocks.
                let other = self.entries.iter().find(|(_, other)| other.hashes.contains(hash)).map(|(id, _)| *id);
                other.and_then(|other| self.blocks.insert(*hash, other));
            }
        }
        Some(entry.value)
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[(u32, usize)]) -> Vec<u32> {
        parts.iter().flat_map(|(token, count)| std::iter::repeat_n(*token, *count)).collect()
    }

    #[test]
    fn prefix_is_found_in_whole_blocks() {
        let mut prefixes = Prefixes::new(4, 8);
        prefixes.insert(text(&[(1, 10), (2, 3)]), 'a');
        assert_eq!(prefixes.find(&text(&[(1, 10), (2, 9)])), Some((12, &'a')));
        assert_eq!(prefixes.find(&text(&[(1, 9), (3, 9)])), Some((8, &'a')));
        assert_eq!(prefixes.find(&text(&[(1, 3)])), None);
        assert_eq!(prefixes.find(&text(&[(3, 30)])), None);
    }

    #[test]
    fn prefix_that_goes_on_replaces_its_beginning() {
        let mut prefixes = Prefixes::new(4, 8);
        prefixes.insert(text(&[(1, 8)]), 'a');
        prefixes.insert(text(&[(1, 12)]), 'b');
        prefixes.insert(text(&[(1, 8)]), 'c');
        assert_eq!((prefixes.len(), prefixes.find(&text(&[(1, 8)]))), (1, Some((8, &'b'))));
    }

    #[test]
    fn prefix_not_used_for_longest_is_evicted() {
        let mut prefixes = Prefixes::new(4, 2);
        prefixes.insert(text(&[(1, 4), (2, 4)]), 'a');
        prefixes.insert(text(&[(1, 4), (3, 4)]), 'b');
        assert_eq!(prefixes.find(&text(&[(1, 4), (2, 4)])), Some((8, &'a')));
        prefixes.insert(text(&[(4, 4)]), 'c');
        assert_eq!(prefixes.find(&text(&[(1, 4), (3, 4)])), Some((4, &'a')));
        assert_eq!((prefixes.evict(), prefixes.evict(), prefixes.evict()), (Some('c'), Some('a'), None));
        assert!(prefixes.is_empty() && prefixes.blocks.is_empty());
    }

    /// Chats of a few system prompts, some of which are asked far more often, with room for fewer texts than there are chats.
    #[test]
    fn prefixes_in_use_stay_under_a_trace_with_eviction() {
        let mut random = 1u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let mut prefixes = Prefixes::new(4, 24);
        let (mut hits, mut often) = ([0u32; 16], [0u32; 16]);
        for chat in 0..4000u32 {
            // The first ones of sixteen come most often.
            let system = next(16).min(next(16)) as usize;
            let tokens = text(&[(system as u32, 40), (1000 + chat, 9)]);
            often[system] += 1;
            match prefixes.find(&tokens) {
                Some((40, _)) => hits[system] += 1,
                Some(other) => panic!("{other:?} of a text that no other chat has"),
                None => {}
            }
            prefixes.insert(tokens, chat);
            assert!(prefixes.len() <= 24);
        }
        let rate = |range: std::ops::Range<usize>| {
            f64::from(hits[range.clone()].iter().sum::<u32>()) / f64::from(often[range].iter().sum::<u32>())
        };
        assert!(rate(0..4) > 0.95 && rate(0..16) > 0.8, "{} and {}", rate(0..4), rate(0..16));
        assert!(rate(12..16) < rate(0..4), "{}", rate(12..16));
    }
}
