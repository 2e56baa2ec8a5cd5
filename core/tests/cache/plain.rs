//! Random sequences of verbs over one small pool, against lists that simply hold every token.

use foveate_core::Error;
use foveate_core::cache::{Holders, Kind, Moves, NO_TOKEN, Pages, Segment, Sequence, Version, Window};
use proptest::prelude::*;

const PAGE: u32 = 4;
const PAGES: u32 = 24;
/// Pages of layers that see a window.
const WINDOWS: u32 = 14;
const WINDOW: Window = Window { sees: 6, keeps: 9 };
/// Tokens that are appended at once are fewer.
const STEP: u32 = 14;

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
        4 => (at.clone(), 0..STEP).prop_map(|(s, n)| Verb::Append(s, n)),
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
    holders: Holders,
    /// Of layers that see every token, and of those that see a window.
    memory: [Vec<Row>; 2],
    /// Slots of states that remember everything they have read.
    states: Vec<Vec<Row>>,
    next: u64,
}

impl World {
    fn new(states: u32, windows: u32) -> Self {
        let memory = [PAGES, windows].map(|pages| vec![(0, 0); (pages * PAGE) as usize]);
        let pages = |count| Pages::new(count, PAGE);
        let windowed = (windows > 0).then(|| (pages(windows), WINDOW));
        let holders = Holders { pages: pages(PAGES), windows: windowed, slots: Pages::new(states, 1) };
        Self { holders, memory, states: vec![Vec::new(); states as usize], next: 1 }
    }

    fn has_states(&self) -> bool {
        self.holders.slots.count() > 0
    }

    /// Of pages, of pages of windows, and of slots.
    fn free(&self) -> [u32; 3] {
        let Holders { pages, windows, slots } = &self.holders;
        [pages.free(), windows.as_ref().map_or(0, |(pages, _)| pages.free()), slots.free()]
    }

    fn apply(&mut self, moves: &Moves) {
        for (memory, moves) in self.memory.iter_mut().zip(&moves.rows) {
            for m in moves {
                memory.copy_within(m.from as usize..(m.from + m.rows) as usize, m.to as usize);
            }
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
        let seen = |pair: &Pair| {
            let reachable = (0..pair.rows.len() as u32).map(|len| pair.sequence.nearest(len)).collect::<Vec<_>>();
            (pair.sequence.version(), pair.sequence.checkpoints().collect::<Vec<_>>(), reachable)
        };
        let (before, free) = (seen(pair), self.free());
        match pair.sequence.append(kind, &ids) {
            Ok(extent) => {
                assert_eq!(extent.first as usize, pair.rows.len());
                self.apply(&extent.moves);
                for (i, (&position, &id)) in extent.positions.iter().zip(&ids).enumerate() {
                    let row = (self.next, position);
                    self.next += 1;
                    for (memory, slots) in self.memory.iter_mut().zip(&extent.slots).filter(|(m, _)| !m.is_empty()) {
                        memory[slots[i] as usize] = row;
                    }
                    if self.has_states() {
                        let slot = pair.sequence.slot().expect("a slot");
                        self.states[slot as usize].push(row);
                    }
                    pair.rows.push(row);
                    pair.ids.push(id);
                }
                pair.past.push((pair.sequence.version(), pair.rows.clone()));
                let (at, nearest) = (extent.first, pair.sequence.nearest(extent.first));
                assert!(self.has_states() || nearest == at, "it can't go back to before it was appended to");
            }
            Err(Error::OutOfPages { needs, free: left }) => {
                assert!(needs > left && free.contains(&left), "{needs} refused with {left} of {free:?} free");
                assert_eq!((seen(pair), self.free()), (before, free));
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
            Err(Error::Rollback { .. }) if self.has_states() || self.holders.windows.is_some() => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// Rows that the sequence's pages hold equal its list, with positions that its segments tell.
    fn check(&self, pair: &Pair) {
        let (sequence, table) = (&pair.sequence, pair.sequence.table());
        let len = sequence.len();
        let row = |i: u32| self.memory[0][(table[(i / PAGE) as usize] * PAGE + i % PAGE) as usize];
        assert_eq!((0..len).map(row).collect::<Vec<_>>(), pair.rows);
        if self.holders.windows.is_some() {
            let (passed, table) = sequence.window();
            let row = |i: u32| self.memory[1][(table[(i / PAGE - passed) as usize] * PAGE + i % PAGE) as usize];
            let seen = (len + 1).saturating_sub(WINDOW.sees);
            assert_eq!((seen..len).map(row).collect::<Vec<_>>(), pair.rows[seen as usize..], "the window sees others");
            assert_eq!(passed + table.len() as u32, len.div_ceil(PAGE));
            let most = (WINDOW.sees - 1 + STEP).max(WINDOW.keeps).div_ceil(PAGE) + 1;
            assert!(table.len() as u32 <= most, "{} pages of a window", table.len());
        }
        assert_eq!(sequence.tokens(), pair.ids);
        if self.has_states() && !sequence.is_empty() {
            let slot = sequence.slot().expect("a slot");
            assert_eq!(self.states[slot as usize], pair.rows, "the states have read something else");
        }
        assert_eq!(table.len() as u32, len.div_ceil(PAGE));
        let positions: Vec<u32> = sequence.segments().iter().flat_map(|s| s.position..s.position + s.len).collect();
        assert_eq!(positions, pair.rows.iter().map(|row| row.1).collect::<Vec<_>>());
        let starts: Vec<u32> = sequence.segments().iter().map(|s| s.start).collect();
        let ends = sequence.segments().iter().map(|s| s.end());
        assert_eq!(starts, [0].into_iter().chain(ends).take(starts.len()).collect::<Vec<_>>());
        assert!(sequence.segments().iter().all(|s| s.len > 0));
        let known = pair.ids.iter().take_while(|id| **id != NO_TOKEN).count() as u32;
        let prefix = sequence.best_prefix(&pair.ids);
        assert_eq!((prefix.same, prefix.len), (known, sequence.nearest(known)));
        assert!(self.has_states() || self.holders.windows.is_some() || prefix.replay() == 0);
    }
}

fn play(verbs: Vec<Verb>, states: u32, windows: u32) {
    let mut world = World::new(states, windows);
    let holders = world.holders.clone();
    let empty = || {
        let sequence = Sequence::new(&holders);
        let past = vec![(sequence.version(), Vec::new())];
        Pair { sequence, rows: Vec::new(), ids: Vec::new(), past }
    };
    let nothing = world.free();
    let mut all = vec![empty()];
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
                let free = world.free();
                let fork = all[pick(s)].clone();
                assert_eq!(world.free(), free, "a fork took pages before it wrote");
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
                    all.push(empty());
                }
            }
        }
        all.iter().for_each(|pair| world.check(pair));
        let mut held: Vec<u32> = all.iter().flat_map(|p| p.sequence.table().to_vec()).collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(world.free()[0], PAGES - held.len() as u32);
    }
    all.clear();
    assert_eq!(world.free(), nothing, "what nobody holds is not free");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn sequences_hold_what_lists_hold(verbs in verbs()) {
        play(verbs, 0, 0);
    }

    #[test]
    fn states_have_read_what_lists_hold(verbs in verbs()) {
        play(verbs, 7, 0);
    }

    #[test]
    fn windows_see_what_lists_hold(verbs in verbs()) {
        play(verbs, 0, WINDOWS);
    }

    #[test]
    fn windows_beside_states_see_what_lists_hold(verbs in verbs()) {
        play(verbs, 5, WINDOWS);
    }
}

#[test]
fn a_segment_of_another_sequence_is_refused() {
    let holders = World::new(0, 0).holders;
    let (mut one, mut two) = (Sequence::new(&holders), Sequence::new(&holders));
    let _ = one.append(Kind::Text, &[1, 2]).expect("room");
    assert!(matches!(two.remove(one.segments()[0].id), Err(Error::NoSuchSegment { .. })));
}

#[test]
fn a_long_sequence_holds_its_window_and_what_may_be_kept() {
    let world = World::new(0, 4);
    let mut sequence = Sequence::new(&world.holders);
    for i in 0..80 {
        let _ = sequence.append(Kind::Text, &[i]).expect("room");
        assert!(sequence.window().1.len() <= 3, "{} pages at {i}", sequence.window().1.len());
    }
    // What is kept can be gone back to, and in front of it what is asked for.
    assert_eq!([79, 73, 72, 40].map(|len| sequence.nearest(len)), [79, 73, 0, 0]);
    assert_eq!(sequence.truncate(72), Err(Error::Rollback { to: 72, nearest: 0, replay: 72 }));
    sequence.truncate(73).expect("it is kept");
    sequence.checkpoint();
    let _ = sequence.append(Kind::Text, &[0; 4]).expect("a page of its own");
    let snapshot = sequence.clone();
    let refused = sequence.append(Kind::Text, &[0; 4]).map(|_| ());
    assert_eq!(refused, Err(Error::OutOfPages { needs: 2, free: 0 }));
    assert_eq!((sequence.len(), sequence.nearest(74)), (77, 74), "what was kept is given up for nothing");
    drop(snapshot);
    let _ = sequence.append(Kind::Text, &[0; 4]).expect("what is kept gives way");
    assert_eq!((sequence.checkpoints().count(), sequence.nearest(76)), (0, 0));
    drop(sequence);
    assert_eq!(world.free(), World::new(0, 4).free());
}
