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
        entry.used = self.now;
        Some((len, &entry.value))
    }

    /// Keeps a value, unless it has no whole block. Entries that it goes on from are dropped: it holds all of theirs.
    pub fn insert(&mut self, tokens: Vec<u32>, value: T) {
        let hashes = self.hashes(&tokens);
        let Some(last) = hashes.last() else { return };
        let longer = self.blocks.get(last).and_then(|id| self.entries.get(id));
        if longer.is_some_and(|entry| entry.tokens.len() >= tokens.len() && entry.tokens.starts_with(&tokens)) {
            return;
        }
        let shorter: Vec<u64> = hashes.iter().filter_map(|hash| self.blocks.get(hash).copied()).collect();
        for id in shorter {
            if self.entries.get(&id).is_some_and(|entry| tokens.starts_with(&entry.tokens)) {
                self.remove(id);
            }
        }
        while self.entries.len() >= self.most.max(1) {
            self.evict();
        }
        self.now += 1;
        let id = self.now;
        self.blocks.extend(hashes.iter().map(|hash| (*hash, id)));
        self.entries.insert(id, Entry { tokens, hashes, value, used: id });
    }

    /// Drops the entry that was not used for longest, and returns its value.
    pub fn evict(&mut self) -> Option<T> {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id)?;
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
}
