//! Random verbs over sessions of models of every kind, against lists that keep every token: a session's whole cache, as it
//! is saved, is that of a fresh one which reads the list. Windows have a test of their own.

use super::folder::Folder;
use super::support::{Fixed, files, load};
use foveate_core::cache::{Kind, PAGE, Pool, Saved};
use foveate_core::coprocessor::{Job, Policy, Splice};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::{Files, Model};
use foveate_core::session::{Input, RollbackTarget, Session};
use foveate_core::{Any, Error, Result};
use pollster::block_on;
use std::sync::Arc;

const CONTEXT: u32 = 90;

/// What was read in the place of one token.
#[derive(Clone, PartialEq, Debug)]
enum Read {
    Token(u32),
    /// A row, of latents that begin here or go on.
    Latent(Vec<f32>, bool),
}

/// A session and the list that it must equal.
struct Pair {
    session: Session<Any>,
    list: Vec<Read>,
    /// Keys and values of each, layer by layer, once something was taken out: what stood behind it has read it, so no
    /// fresh session has these rows.
    rows: Option<Vec<Vec<u8>>>,
}

fn rows(session: &Session<Any>) -> Vec<Vec<u8>> {
    let layers = block_on(session.snapshot().rows(session.model().backend())).expect("they are there");
    let count = session.tokens().len();
    let mut all = vec![Vec::new(); count];
    for side in layers.iter().flat_map(|(keys, values)| [keys, values]) {
        // Of windows, the last ones; all of them while the text is short.
        let width = side.len() / count.max(1);
        all.iter_mut().zip(side.chunks(width.max(1))).for_each(|(row, part)| row.extend_from_slice(part));
    }
    all
}

fn read(session: &mut Session<Any>, list: &[Read]) -> Result<()> {
    let mut rest = list;
    while let Some(first) = rest.first() {
        let same = |read: &Read| match (first, read) {
            (Read::Token(_), Read::Token(_)) => true,
            (Read::Latent(..), Read::Latent(_, begins)) => !begins,
            _ => false,
        };
        let count = 1 + rest[1..].iter().take_while(|read| same(read)).count();
        let (now, then) = rest.split_at(count);
        match first {
            Read::Token(_) => {
                let ids = now.iter().filter_map(|read| if let Read::Token(id) = read { Some(*id) } else { None });
                session.read(Input::Tokens(&ids.collect::<Vec<_>>()))?;
            }
            Read::Latent(..) => {
                let rows = now.iter().filter_map(|read| if let Read::Latent(row, _) = read { Some(row) } else { None });
                session.read(Input::Embeddings(Kind::Latent, &rows.flatten().copied().collect::<Vec<_>>()))?;
            }
        }
        rest = then;
    }
    Ok(())
}

struct Game {
    model: Arc<Model<Any>>,
    pool: Arc<Pool<Any>>,
    rng: Rng,
    states: bool,
}

impl Game {
    fn session(&self) -> Session<Any> {
        Session::in_pool(self.model.clone(), self.pool.clone(), CONTEXT).expect("room")
    }

    fn check(&self, pair: &Pair) {
        let bytes = block_on(pair.session.save()).expect("it is whole");
        if let Some(wanted) = &pair.rows {
            return assert!(rows(&pair.session) == *wanted, "rows that nobody wrote have changed");
        }
        let mut fresh = Session::new(self.model.clone(), CONTEXT).expect("room");
        read(&mut fresh, &pair.list).expect("it was read before");
        let wanted = block_on(fresh.save()).expect("it is whole");
        if !self.states {
            return assert!(bytes == wanted, "{} tokens differ", pair.list.len());
        }
        // Between two pieces states are rounded to f32, which moves what comes after by as much.
        let [got, wanted] = [bytes, wanted].map(|bytes| block_on(Saved::read(bytes)).expect("it was just written"));
        assert_eq!((&got.tokens, &got.segments), (&wanted.tokens, &wanted.segments));
        let all = |saved: &Saved| {
            let rows = saved.layers.iter().flat_map(|(keys, values)| [keys, values]);
            rows.chain(&saved.states).flatten().copied().collect::<Vec<u8>>()
        };
        let [got, wanted] = [got, wanted].map(|saved| bytemuck::pod_collect_to_vec::<u8, f32>(&all(&saved)));
        assert_eq!(got.len(), wanted.len());
        let near = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || (x - y).abs() <= 1e-4 * (1.0 + y.abs());
        assert!(got.iter().zip(&wanted).all(near), "{} tokens differ", pair.list.len());
    }

    fn tokens(&mut self) -> Vec<Read> {
        let vocab = self.model.config().vocab;
        (0..1 + self.rng.below(14)).map(|_| Read::Token(self.rng.below(vocab))).collect()
    }

    fn latents(&mut self) -> Vec<f32> {
        let count = (1 + self.rng.below(3)) * self.model.config().dim;
        let seed = self.rng.below(1000) as f32;
        (0..count).map(|i| (i as f32 * 0.37 + seed).sin()).collect()
    }

    /// Behind an append: what is there now is what was there, and what is new.
    fn grown(&self, pair: &mut Pair, more: &[Read]) {
        pair.list.extend_from_slice(more);
        if let Some(known) = &mut pair.rows {
            let now = rows(&pair.session);
            assert!(now[..known.len()] == known[..], "rows that nobody wrote have changed");
            *known = now;
        }
    }

    fn append(&self, pair: &mut Pair, more: &[Read]) {
        let before = pair.session.version();
        match read(&mut pair.session, more) {
            Ok(()) => self.grown(pair, more),
            Err(Error::OutOfPages { .. } | Error::ContextFull { .. }) => {
                assert_eq!(pair.session.version(), before);
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Latents that were asked for now, and are there some tokens later.
    fn splice(&mut self, pair: &mut Pair) {
        let (snapshot, at) = (pair.session.snapshot(), pair.list.len());
        let (mut job, task) = Job::new(snapshot, 3);
        let (latents, more) = (self.latents(), self.tokens());
        block_on(task.run(&mut Fixed(latents.clone())));
        if self.rng.below(3) > 0 {
            self.append(pair, &more);
        }
        let policy = [Policy::AtTail, Policy::AtSnapshot, Policy::DropIfStale][self.rng.below(3) as usize];
        let fresh = pair.list.len() == at;
        if policy == Policy::AtSnapshot && !fresh && pair.rows.is_some() {
            return;
        }
        let width = self.model.config().dim as usize;
        let row = |(i, row): (usize, &[f32])| Read::Latent(row.to_vec(), i == 0);
        let new: Vec<Read> = latents.chunks(width).enumerate().map(row).collect();
        match pair.session.splice(&mut job, policy) {
            Splice::Spliced(_) if policy == Policy::AtSnapshot => {
                let tail = pair.list.split_off(at);
                self.grown(pair, &[new, tail].concat());
            }
            Splice::Spliced(_) => {
                assert!(fresh || policy == Policy::AtTail);
                self.grown(pair, &new);
            }
            Splice::Dropped(Error::Stale { .. }) => assert!(!fresh && policy == Policy::DropIfStale),
            Splice::Dropped(Error::OutOfPages { .. } | Error::ContextFull { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    fn cut(&self, pair: &mut Pair, gone: std::ops::Range<usize>, cut: impl FnOnce(&mut Session<Any>) -> Result<()>) {
        let (before, tail) = (rows(&pair.session), gone.end == pair.list.len());
        match cut(&mut pair.session) {
            Ok(()) => {
                pair.list.drain(gone.clone());
                let known = pair.rows.is_some() || !tail && !gone.is_empty();
                let mut rows = pair.rows.take().unwrap_or(before);
                rows.drain(gone);
                pair.rows = known.then_some(rows);
            }
            Err(Error::Rollback { .. }) if self.states => {}
            Err(Error::OutOfPages { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn play(&mut self) {
        let mut all = vec![Pair { session: self.session(), list: Vec::new(), rows: None }];
        for _ in 0..50 {
            let at = self.rng.below(all.len() as u32) as usize;
            let room = all.len() < 4;
            let pair = &mut all[at];
            let len = pair.list.len() as u32;
            match self.rng.below(10) {
                0..3 => {
                    let more = self.tokens();
                    self.append(pair, &more);
                }
                3 => self.splice(pair),
                4 if room => {
                    let fork = Pair {
                        session: pair.session.fork().expect("a fork"),
                        list: pair.list.clone(),
                        rows: pair.rows.clone(),
                    };
                    all.push(fork);
                }
                5 => pair.session.checkpoint(),
                6 => {
                    let to = self.rng.below(len + 1);
                    // Exact where it can go back to, and read again from there elsewhere, unless that was an embedding.
                    let gone = pair.session.rollback(RollbackTarget::Len(to)).or_else(|_| pair.session.rewind(to));
                    match gone {
                        Ok(()) => {
                            pair.list.truncate(to as usize);
                            pair.rows.iter_mut().for_each(|rows| rows.truncate(to as usize));
                        }
                        Err(Error::Rollback { .. }) => assert!(self.states),
                        Err(other) => panic!("{other}"),
                    }
                }
                7 if len > 0 => {
                    let segments = pair.session.segments();
                    let segment = segments[self.rng.below(segments.len() as u32) as usize];
                    let gone = segment.start as usize..segment.end() as usize;
                    self.cut(pair, gone, |s| s.remove(segment.id));
                }
                8 if len > 0 => {
                    let bytes = block_on(pair.session.save()).expect("it is whole");
                    let mut restored = self.session();
                    match block_on(restored.restore(bytes)) {
                        Ok(()) => pair.session = restored,
                        Err(Error::OutOfPages { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                9 if self.rng.below(4) == 0 => {
                    let (sinks, recent) = (self.rng.below(5), self.rng.below(60));
                    let start = (sinks as usize).min(pair.list.len());
                    let gone = start..pair.list.len().saturating_sub(recent as usize).max(start);
                    self.cut(pair, gone, |s| s.evict(sinks, recent));
                }
                _ if all.len() > 1 => drop(all.swap_remove(at)),
                _ => {}
            }
            all.iter().for_each(|pair| self.check(pair));
        }
        drop(all);
        assert_eq!(self.pool.pages().free(), self.pool.pages().count(), "pages that nobody holds are not free");
        assert_eq!(self.pool.state_slots().free(), self.pool.state_slots().count(), "nor are slots");
    }
}

fn play(files: Option<Files>, seeds: std::ops::Range<u64>) {
    let Some(files) = files else { return };
    // The definitions: what they give is the same in pieces of any length.
    let model = load(Any::Host(HostBackend::reference()), files);
    let states = model.config().layers.iter().any(|l| !matches!(l.mixer, foveate_core::config::Mixer::Attention(_)));
    for seed in seeds {
        println!("seed {seed}");
        let pool = Pool::new(model.backend(), model.config(), DType::F32, 7 * PAGE).expect("memory");
        Game { model: model.clone(), pool: Arc::new(pool), rng: Rng::new(seed), states }.play();
    }
}

#[test]
fn llama_holds_what_a_list_holds() {
    play(files("llama"), 0..4);
}

#[test]
fn a_hybrid_holds_what_a_list_holds() {
    play(files("qwen3_5"), 10..13);
}

#[test]
fn a_model_with_experts_holds_what_a_list_holds() {
    play(files("../families/qwen2_moe"), 30..33);
}

#[test]
fn a_model_that_routes_holds_what_a_list_holds() {
    let folder = Folder::routing(&["linear", "routing", "full"], r#""max_position_embeddings":256"#);
    play(Some(folder.files().expect("a known family")), 20..23);
}

#[test]
fn a_model_with_latents_holds_what_a_list_holds() {
    play(files("../families/deepseek_v3"), 40..42);
}

#[test]
fn a_model_whose_layers_run_several_times_holds_what_a_list_holds() {
    let [expert, token] = [r#""type":"expert","expert":{"alpha":0.8}"#, r#""type":"token""#];
    for folder in [Folder::mor(1, 3, expert), Folder::mor(1, 3, expert).by_recursion(), Folder::mor(1, 3, token)] {
        play(Some(folder.files().expect("a known family")), 50..52);
    }
}
