//! Reference counts of the pages of a pool, under one lock. This file knows no device; a model checker runs it.
//!
//! Evicted pages stay reserved until the write commits. An append takes all pages that it needs in one step under one
//! lock, or none, so an append that fails or is withdrawn leaves every page where it was.

use super::sync::{Arc, Mutex, MutexGuard};

/// The pages of a pool. Cloning gives a second handle.
#[derive(Clone)]
pub struct Pages {
    shared: Arc<Mutex<Counts>>,
    /// Tokens of a page.
    page: u32,
    pages: u32,
}

struct Counts {
    /// Pages that nobody holds, the next one last.
    free: Vec<u32>,
    /// Tables that hold each page.
    holders: Vec<u32>,
}

/// More pages were asked for than are free. Nobody's pages have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted {
    /// Pages that were asked for.
    pub needs: u32,
    /// Pages that are free.
    pub free: u32,
}

impl Pages {
    /// `pages` pages of `page` tokens, all free.
    pub fn new(pages: u32, page: u32) -> Self {
        let counts = Counts { free: (0..pages).rev().collect(), holders: vec![0; pages as usize] };
        Self { shared: Arc::new(Mutex::new(counts)), page, pages }
    }

    /// Tokens of a page.
    pub fn page(&self) -> u32 {
        self.page
    }

    /// Pages in all.
    pub fn count(&self) -> u32 {
        self.pages
    }

    /// Pages that nobody holds.
    pub fn free(&self) -> u32 {
        self.counts().free.len() as u32
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // No panic leaves the counts half changed.
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Pages in the order of a sequence's tokens. A clone holds the same pages; each page is free when its last holder is gone.
pub struct Table {
    owner: Pages,
    pages: Vec<u32>,
}

impl Table {
    /// Returns a table without pages.
    pub fn new(owner: &Pages) -> Self {
        Self { owner: owner.clone(), pages: Vec::new() }
    }

    /// Page numbers.
    pub fn pages(&self) -> &[u32] {
        &self.pages
    }

    /// Returns the pool's pages, some of which the table holds.
    pub fn owner(&self) -> &Pages {
        &self.owner
    }

    /// Says if taking `more` pages and a copy of the one at `write`, if others hold it, takes more than are free.
    pub fn room(&self, more: u32, write: Option<usize>) -> Result<(), Exhausted> {
        let counts = self.owner.counts();
        let shared = write.is_some_and(|i| counts.holders[self.pages[i] as usize] > 1);
        let (needs, free) = (more + u32::from(shared), counts.free.len() as u32);
        if needs > free { Err(Exhausted { needs, free }) } else { Ok(()) }
    }

    /// Takes `more` pages, and of the page at `write`, if another table holds it too, a fresh one in its place: the
    /// caller is about to write there. Where too few are free, pages that only the first of `spare` hold are taken over:
    /// the caller holds these and gives them up.
    ///
    /// Returns the page that was replaced, still held, for the caller to copy, and how many of `spare` are to be given up:
    /// as few as it takes. Nothing changes on an error.
    pub fn grow(
        &mut self,
        more: u32,
        write: Option<usize>,
        spare: &[&[u32]],
    ) -> Result<(Option<Table>, usize), Exhausted> {
        let mut counts = self.owner.counts();
        let mut given = 0;
        let (shared, mut fresh) = loop {
            let given_up = || spare[..given].iter().copied().flatten().copied();
            let others = |page: u32| {
                let own = given_up().filter(|&other| other == page).count() as u32;
                counts.holders[page as usize] - own
            };
            // Of a page that only this table holds, nobody can become a holder: that takes a holder.
            let shared = write.filter(|&i| others(self.pages[i]) > 1);
            let needs = more as usize + usize::from(shared.is_some());
            let mut over: Vec<u32> = given_up().filter(|&page| others(page) == 0).collect();
            over.sort_unstable();
            over.dedup();
            let free = counts.free.len();
            if free + over.len() >= needs {
                over.truncate(needs.saturating_sub(free));
                let mut fresh = counts.free.split_off(free.saturating_sub(needs));
                fresh.reverse();
                fresh.append(&mut over);
                break (shared, fresh);
            }
            if given == spare.len() {
                return Err(Exhausted { needs: needs as u32, free: free as u32 });
            }
            given += 1;
        };
        fresh.iter().for_each(|&page| counts.holders[page as usize] += 1);
        drop(counts);
        let replaced = shared.map(|i| {
            let page = std::mem::replace(&mut self.pages[i], fresh.remove(0));
            Table { owner: self.owner.clone(), pages: vec![page] }
        });
        self.pages.append(&mut fresh);
        Ok((replaced, given))
    }

    /// Cuts off what stands behind the first `keep` pages; it stays held by the table returned.
    pub fn split(&mut self, keep: usize) -> Table {
        let pages = self.pages.split_off(keep.min(self.pages.len()));
        Table { owner: self.owner.clone(), pages }
    }

    /// Puts the pages of another table of the same pool behind its own.
    pub fn join(&mut self, mut other: Table) {
        self.pages.append(&mut other.pages);
    }
}

impl Clone for Table {
    fn clone(&self) -> Self {
        let mut counts = self.owner.counts();
        self.pages.iter().for_each(|&page| counts.holders[page as usize] += 1);
        drop(counts);
        Self { owner: self.owner.clone(), pages: self.pages.clone() }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.pages.is_empty() {
            return;
        }
        let mut counts = self.owner.counts();
        for &page in self.pages.iter().rev() {
            counts.holders[page as usize] -= 1;
            if counts.holders[page as usize] == 0 {
                counts.free.push(page);
            }
        }
    }
}
