//! Random sequences of verbs over one small pool, against lists that simply hold every token.

use foveate_core::Error;
use foveate_core::cache::{Kind, Moves, NO_TOKEN, Pages, Segment, Sequence, Version};
use proptest::prelude::*;

const PAGE: u32 = 4;
const PAGES: u32 = 24;

#[derive(Clone, Debug)]
enum Verb {
    Append(usize, u32),
    Latents(usize, u32),
    Fork(usize),
    Rollback(usize, u32),
    Return(usize, usize),
    Remove(usize, usize),
    Evict(usize, u32, u32),
    Checkpoint(usize),
    Drop(usize),
}

fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    let at = 0..4usize;
    let verb = prop_oneof![
        4 => (at.clone(), 0..14u32).prop_map(|(s, n)| Verb::Append(s, n)),
        2 => (at.clone(), 1..6u32).prop_map(|(s, n)| Verb::Latents(s, n)),
        3 => at.clone().prop_map(Verb::Fork),
        2 => (at.clone(), 0..40u32).prop_map(|(s, n)| Verb::Rollback(s, n)),
        2 => (at.clone(), 0..8usize).prop_map(|(s, n)| Verb::Return(s, n)),
        3 => (at.clone(), 0..6usize).prop_map(|(s, n)| Verb::Remove(s, n)),
        1 => (at.clone(), 0..9u32, 0..20u32).prop_map(|(s, n, m)| Verb::Evict(s, n, m)),
        2 => at.clone().prop_map(Verb::Checkpoint),
        1 => at.prop_map(Verb::Drop),
    ];
    prop::collection::vec(verb, 1..60)
}

/// What a row of the pool holds, and what a list holds instead: a number that no other token has, and its position.
type Row = (u64, u32);

/// A sequence and the list that it must equal.
#[derive(Clone)]
struct Pair {
    sequence: Sequence,
    rows: Vec<Row>,
    ids: Vec<u32>,
    /// Versions that it has had, with all that was there.
    past: Vec<(Version, Vec<Row>)>,
}

struct World {
    pages: Pages,
    memory: Vec<Row>,
    /// Slots of states that remember everything they have read.
    slots: Pages,
    states: Vec<Vec<Row>>,
    next: u64,
}

impl World {
    fn apply(&mut self, moves: &Moves) {
        for m in &moves.rows {
            let from = self.memory[m.from as usize..(m.from + m.rows) as usize].to_vec();
            self.memory[m.to as usize..(m.to + m.rows) as usize].copy_from_slice(&from);
        }
        if let Some((from, to)) = moves.state {
            self.states[to as usize] = self.states[from as usize].clone();
        }
        if let Some(slot) = moves.clear {
            self.states[slot as usize].clear();
        }
    }

    fn append(&mut self, pair: &mut Pair, kind: Kind, n: u32) {
        let ids: Vec<u32> =
            (0..n).map(|i| if kind == Kind::Text { (self.next as u32) + i } else { NO_TOKEN }).collect();
        let (before, free) = (pair.sequence.version(), self.pages.free());
        match pair.sequence.append(kind, &ids) {
            Ok(extent) => {
                assert_eq!(extent.first as usize, pair.rows.len());
                self.apply(&extent.moves);
                for ((&slot, &position), &id) in extent.slots.iter().zip(&extent.positions).zip(&ids) {
                    let row = (self.next, position);
                    self.next += 1;
                    self.memory[slot as usize] = row;
                    if self.slots.count() > 0 {
                        let slot = pair.sequence.slot().expect("a slot");
                        self.states[slot as usize].push(row);
                    }
                    pair.rows.push(row);
                    pair.ids.push(id);
                }
                pair.past.push((pair.sequence.version(), pair.rows.clone()));
            }
            Err(Error::OutOfPages { needs, free: left }) => {
                let none = needs > left && (left == free || left == self.slots.free());
                assert!(none, "{needs} refused with {left} of {free} free");
                assert_eq!((pair.sequence.version(), self.pages.free()), (before, free));
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn remove(&mut self, pair: &mut Pair, segment: Segment) {
        let range = segment.start as usize..segment.end() as usize;
        let removed = pair.sequence.remove(segment.id);
        self.cut(pair, range, removed);
    }

    fn evict(&mut self, pair: &mut Pair, sinks: u32, recent: u32) {
        let start = (sinks as usize).min(pair.rows.len());
        let range = start..pair.rows.len().saturating_sub(recent as usize).max(start);
        let evicted = pair.sequence.evict(sinks, recent);
        self.cut(pair, range, evicted);
    }

    fn cut(&mut self, pair: &mut Pair, range: std::ops::Range<usize>, cut: foveate_core::Result<Moves>) {
        match cut {
            Ok(moves) => {
                self.apply(&moves);
                pair.rows.drain(range.clone());
                pair.ids.drain(range);
                pair.past.push((pair.sequence.version(), pair.rows.clone()));
            }
            Err(Error::OutOfPages { .. }) => {}
            Err(Error::Rollback { .. }) if self.slots.count() > 0 => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// Rows that the sequence's pages hold equal its list, with positions that its segments tell.
    fn check(&self, pair: &Pair) {
        let (sequence, table) = (&pair.sequence, pair.sequence.table());
        let row = |i: u32| self.memory[(table[(i / PAGE) as usize] * PAGE + i % PAGE) as usize];
        assert_eq!((0..sequence.len()).map(row).collect::<Vec<_>>(), pair.rows);
        assert_eq!(sequence.tokens(), pair.ids);
        if self.slots.count() > 0 && !sequence.is_empty() {
            let slot = sequence.slot().expect("a slot");
            assert_eq!(self.states[slot as usize], pair.rows, "the states have read something else");
        }
        assert_eq!(table.len() as u32, sequence.len().div_ceil(PAGE));
        let positions: Vec<u32> = sequence.segments().iter().flat_map(|s| s.position..s.position + s.len).collect();
        assert_eq!(positions, pair.rows.iter().map(|row| row.1).collect::<Vec<_>>());
        let starts: Vec<u32> = sequence.segments().iter().map(|s| s.start).collect();
        let ends = sequence.segments().iter().map(|s| s.end());
        assert_eq!(starts, [0].into_iter().chain(ends).take(starts.len()).collect::<Vec<_>>());
        assert!(sequence.segments().iter().all(|s| s.len > 0));
        let known = pair.ids.iter().take_while(|id| **id != NO_TOKEN).count() as u32;
        let prefix = sequence.best_prefix(&pair.ids);
        assert_eq!((prefix.same, prefix.len), (known, sequence.nearest(known)));
        assert!(self.slots.count() > 0 || prefix.replay() == 0);
    }
}

fn play(verbs: Vec<Verb>, states: u32) {
    let (pages, slots) = (Pages::new(PAGES, PAGE), Pages::new(states, 1));
    let memory = vec![(0, 0); (PAGES * PAGE) as usize];
    let states = vec![Vec::new(); states as usize];
    let mut world = World { pages: pages.clone(), memory, slots: slots.clone(), states, next: 1 };
    let empty = |pages: &Pages| {
        let sequence = Sequence::new(pages, &slots);
        let past = vec![(sequence.version(), Vec::new())];
        Pair { sequence, rows: Vec::new(), ids: Vec::new(), past }
    };
    let mut all = vec![empty(&pages)];
    for verb in verbs {
        let pick = |s: usize| s % all.len();
        match verb {
            Verb::Append(s, n) => {
                let s = pick(s);
                world.append(&mut all[s], Kind::Text, n);
            }
            Verb::Latents(s, n) => {
                let s = pick(s);
                world.append(&mut all[s], Kind::Latent, n);
            }
            Verb::Fork(s) => {
                let free = pages.free();
                let fork = all[pick(s)].clone();
                assert_eq!(pages.free(), free, "a fork took pages before it wrote");
                all.push(fork);
            }
            Verb::Rollback(s, len) => {
                let s = pick(s);
                if let Err(error) = all[s].sequence.truncate(len) {
                    let nearest = all[s].sequence.nearest(len);
                    assert_eq!(error, Error::Rollback { to: len, nearest, replay: len - nearest });
                    continue;
                }
                all[s].rows.truncate(len as usize);
                all[s].ids.truncate(len as usize);
                let now = (all[s].sequence.version(), all[s].rows.clone());
                all[s].past.push(now);
            }
            Verb::Return(s, n) => {
                let s = pick(s);
                let pair = &mut all[s];
                let (version, rows) = pair.past[n % pair.past.len()].clone();
                // A version that it can go back to has what it had then.
                let len = pair.sequence.len_at(version);
                if let Some(len) = len.filter(|len| pair.sequence.nearest(*len) == *len) {
                    pair.sequence.truncate(len).expect("it can go back there");
                    assert_eq!(pair.sequence.version(), version);
                    pair.ids.truncate(len as usize);
                    pair.rows = rows;
                }
            }
            Verb::Remove(s, n) => {
                let s = pick(s);
                let segments = all[s].sequence.segments();
                if !segments.is_empty() {
                    let segment = segments[n % segments.len()];
                    world.remove(&mut all[s], segment);
                }
            }
            Verb::Evict(s, sinks, recent) => {
                let s = pick(s);
                world.evict(&mut all[s], sinks, recent);
            }
            Verb::Checkpoint(s) => {
                let s = pick(s);
                all[s].sequence.checkpoint();
            }
            Verb::Drop(s) => {
                let s = pick(s);
                all.swap_remove(s);
                if all.is_empty() {
                    all.push(empty(&pages));
                }
            }
        }
        all.iter().for_each(|pair| world.check(pair));
        let mut held: Vec<u32> = all.iter().flat_map(|p| p.sequence.table().to_vec()).collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(pages.free(), PAGES - held.len() as u32);
    }
    all.clear();
    assert_eq!(pages.free(), PAGES, "pages that nobody holds are not free");
    assert_eq!(slots.free(), slots.count(), "slots that nobody holds are not free");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn sequences_hold_what_lists_hold(verbs in verbs()) {
        play(verbs, 0);
    }

    #[test]
    fn states_have_read_what_lists_hold(verbs in verbs()) {
        play(verbs, 7);
    }
}

#[test]
fn a_segment_of_another_sequence_is_refused() {
    let pages = Pages::new(4, PAGE);
    let (mut one, mut two) = (Sequence::new(&pages, &Pages::new(0, 1)), Sequence::new(&pages, &Pages::new(0, 1)));
    let _ = one.append(Kind::Text, &[1, 2]).expect("room");
    assert!(matches!(two.remove(one.segments()[0].id), Err(Error::NoSuchSegment { .. })));
}
