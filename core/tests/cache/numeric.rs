//! What models compute over the cache: bit for bit what they compute without forks, rollbacks and splices.

use super::support::{everywhere, recursion_everywhere};
use foveate_core::cache::{Kind, NO_TOKEN, PAGE, Pool};
use foveate_core::config::Mixer;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Model;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Input, RollbackTarget, Session};
use foveate_core::{Any, Error};
use pollster::block_on;
use std::sync::Arc;

fn ids(model: &Model<Any>, n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % model.config().vocab).collect()
}

/// The bits of the logits after each token.
pub(crate) fn logits(session: &mut Session<Any>, input: Input<'_>) -> Vec<u32> {
    let mut bits = Vec::new();
    let rows = |rows: &[f32]| bits.extend(rows.iter().map(|x| x.to_bits()));
    block_on(session.logits_after(input, rows)).expect("it reads");
    bits
}

pub(crate) fn greedy() -> Sampler {
    Sampler::new(Sampling::default()).expect("settings in range")
}

/// A session whose pool has room for forks.
pub(crate) fn roomy(model: &Arc<Model<Any>>, format: DType) -> foveate_core::Result<Session<Any>> {
    let pool = Pool::new(model.backend(), model.config(), format, 12 * PAGE)?;
    Session::in_pool(model.clone(), Arc::new(pool), 200)
}

/// Greedy tokens after `next`.
pub(crate) fn decode(session: &mut Session<Any>, next: &[u32], count: usize) -> Vec<u32> {
    let (mut next, mut all) = (next.to_vec(), Vec::new());
    for _ in 0..count {
        let id = block_on(session.next(&next, &mut greedy())).expect("a token");
        all.push(id);
        next = vec![id];
    }
    all
}

#[test]
fn forks_share_pages_and_leave_their_parent_alone() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let all = ids(&model, 150);
        let pool = Pool::new(model.backend(), model.config(), DType::F32, 9 * PAGE).expect("memory");
        let mut parent = Session::in_pool(model.clone(), Arc::new(pool), 200).expect("room");
        let mut plain = Session::new(model.clone(), 200).expect("room");
        parent.read(Input::Tokens(&all[..100])).expect("it reads");
        plain.read(Input::Tokens(&all[..100])).expect("it reads");
        assert_eq!(parent.pool().pages().free(), 7);
        let mut forks: Vec<_> = (0..4).map(|_| parent.fork().expect("a fork")).collect();
        assert_eq!(parent.pool().pages().free(), 7, "forks took pages");
        let wanted = logits(&mut plain, Input::Tokens(&all[100..120]));
        for (i, fork) in (0..).zip(&mut forks) {
            // Each goes its own way first, on the page that all share.
            block_on(fork.next(&[i + 1], &mut greedy())).expect("a token");
            assert_eq!(fork.pool().pages().free(), 6 - i);
        }
        assert_eq!(logits(&mut parent, Input::Tokens(&all[100..120])), wanted);
        for fork in &mut forks {
            fork.rollback(RollbackTarget::Len(100)).expect("it was that long");
            assert_eq!(logits(fork, Input::Tokens(&all[100..120])), wanted);
        }
        let pool = parent.pool().clone();
        drop((parent, forks));
        assert_eq!(pool.pages().free(), 9);
    }
}

#[test]
fn a_snapshot_goes_on_as_the_session_did() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let all = ids(&model, 90);
        let mut session = Session::new(model.clone(), 200).expect("room");
        session.read(Input::Tokens(&all[..70])).expect("it reads");
        let snapshot = session.snapshot();
        let wanted = decode(&mut session, &all[70..], 12);
        let mut again = session.fork_at(&snapshot).expect("a fork");
        assert_eq!((again.version(), again.tokens()), (snapshot.version(), &all[..70]));
        assert_eq!(decode(&mut again, &all[70..], 12), wanted);
    }
}

#[test]
fn rollback_restores_versions_and_logits() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let all = ids(&model, 120);
        let mut session = Session::new(model.clone(), 200).expect("room");
        session.read(Input::Tokens(&all[..60])).expect("it reads");
        let version = session.version();
        let pages = |s: &Session<Any>| (s.snapshot().table().to_vec(), s.pool().pages().free());
        let before = pages(&session);
        let wanted = logits(&mut session, Input::Tokens(&all[60..80]));
        session.rollback(RollbackTarget::Version(version)).expect("it is in its past");
        let latents = vec![0.25; 5 * model.config().dim as usize];
        session.read(Input::Embeddings(Kind::Latent, &latents)).expect("it reads");
        let spliced = session.version();
        assert_ne!(logits(&mut session, Input::Tokens(&all[60..80])), wanted);
        session.rollback(RollbackTarget::Version(version)).expect("it is in its past");
        assert_eq!((session.version(), session.tokens()), (version, &all[..60]));
        assert_eq!(pages(&session), before);
        assert_eq!(logits(&mut session, Input::Tokens(&all[60..80])), wanted);
        let gone = session.rollback(RollbackTarget::Version(spliced));
        assert_eq!(gone, Err(Error::NoSuchVersion { version: spliced.number() }));
        let ahead = session.rollback(RollbackTarget::Len(100));
        assert_eq!(ahead, Err(Error::Rollback { to: 100, nearest: 80, replay: 20 }));
        assert_eq!(session.tokens().len(), 80);
    }
}

#[test]
fn embeddings_of_tokens_are_read_as_the_tokens() {
    for family in ["llama", "gemma3", "gpt2"] {
        for model in everywhere(family).into_iter().take(if family == "llama" { 2 } else { 1 }) {
            let all = ids(&model, 40);
            let mut by_ids = Session::new(model.clone(), 64).expect("room");
            let wanted = logits(&mut by_ids, Input::Tokens(&all));
            let mut session = Session::new(model.clone(), 64).expect("room");
            let rows = block_on(session.embeddings(&all[10..30])).expect("they are embedded");
            let mut got = logits(&mut session, Input::Tokens(&all[..10]));
            got.extend(logits(&mut session, Input::Embeddings(Kind::Latent, &rows)));
            got.extend(logits(&mut session, Input::Tokens(&all[30..])));
            // The same pieces by ids: a step's length chooses its kernels.
            let mut pieces = Session::new(model.clone(), 64).expect("room");
            let by_pieces: Vec<u32> = [&all[..10], &all[10..30], &all[30..]]
                .into_iter()
                .flat_map(|piece| logits(&mut pieces, Input::Tokens(piece)))
                .collect();
            assert!(got == by_pieces, "{family}: embeddings give other logits than their tokens");
            assert_eq!(wanted.len(), got.len());
            assert_eq!(session.tokens()[9..31], [&all[9..10], &[NO_TOKEN; 20], &all[30..31]].concat());
            assert_eq!(session.segments().iter().map(|s| s.position).collect::<Vec<_>>(), [0, 10, 30]);
        }
    }
}

#[test]
fn a_segment_that_is_taken_out_is_seen_no_more() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let all = ids(&model, 150);
        let dim = model.config().dim as usize;
        let latents: Vec<f32> = (0..7 * dim).map(|i| (i as f32 * 0.7).sin()).collect();
        // What stands behind the segment has read it: two sessions whose tail has, and then one where it is gone.
        let mut session = roomy(&model, DType::F32).expect("room");
        session.read(Input::Tokens(&all[..70])).expect("it reads");
        session.read(Input::Embeddings(Kind::Latent, &latents)).expect("it reads");
        let latent = session.segments()[1];
        let before_tail = session.fork().expect("a fork");
        session.read(Input::Tokens(&all[70..140])).expect("it reads");
        let kept = session.fork().expect("a fork");
        let with = logits(&mut session.fork().expect("a fork"), Input::Tokens(&all[140..]));
        session.remove(latent.id).expect("it is there");
        assert_eq!(session.tokens(), &all[..140]);
        assert_eq!(session.segments().iter().map(|s| (s.start, s.position)).collect::<Vec<_>>(), [(0, 0), (70, 77)]);
        let without = logits(&mut session, Input::Tokens(&all[140..]));
        assert_ne!(with, without);
        // Removed where nothing stands behind it, it leaves what was before.
        let mut tail = before_tail;
        tail.remove(latent.id).expect("it is there");
        let mut plain = Session::new(model.clone(), 200).expect("room");
        plain.read(Input::Tokens(&all[..70])).expect("it reads");
        assert_eq!(logits(&mut tail, Input::Tokens(&all[70..80])), logits(&mut plain, Input::Tokens(&all[70..80])));
        // Others still see it.
        let mut kept = kept;
        assert_eq!(logits(&mut kept, Input::Tokens(&all[140..])), with);
    }
}

#[test]
fn out_of_pages_leaves_every_session_as_it_was() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let all = ids(&model, 150);
        let [page, none] = Pool::<Any>::page_bytes(model.config(), DType::F32).expect("a format");
        assert_eq!(none, 0, "pages of windows that no layer has");
        let pool = Pool::with_budget(model.backend(), model.config(), DType::F32, 3 * page + 100, 4);
        let pool = pool.expect("three pages");
        let pool = Arc::new(pool);
        let mut one = Session::in_pool(model.clone(), pool.clone(), 200).expect("room");
        let mut two = Session::in_pool(model.clone(), pool.clone(), 200).expect("room");
        one.read(Input::Tokens(&all[..100])).expect("two pages");
        two.read(Input::Tokens(&all[..20])).expect("one page");
        let versions = (one.version(), two.version());
        assert_eq!(two.read(Input::Tokens(&all[..50])), Err(Error::OutOfPages { needs: 1, free: 0 }));
        // A shared page that is partly filled is a page to take as well.
        let mut fork = one.fork().expect("a fork");
        assert_eq!(block_on(fork.next(&[1], &mut greedy())), Err(Error::OutOfPages { needs: 1, free: 0 }));
        assert_eq!((one.version(), two.version(), fork.version()), (versions.0, versions.1, versions.0));
        drop(fork);
        let mut plain = Session::new(model.clone(), 200).expect("room");
        plain.read(Input::Tokens(&all[..100])).expect("it reads");
        assert_eq!(logits(&mut one, Input::Tokens(&all[100..110])), logits(&mut plain, Input::Tokens(&all[100..110])));
        drop((one, two));
        assert_eq!(pool.pages().free(), 3);
    }
}

#[test]
fn bad_embeddings_and_foreign_snapshots_are_refused() {
    let Some(model) = everywhere("llama").into_iter().next() else { return };
    let dim = model.config().dim as usize;
    let mut session = Session::new(model.clone(), 20).expect("room");
    let mut read = |kind, rows: &[f32]| session.read(Input::Embeddings(kind, rows));
    assert!(matches!(read(Kind::Latent, &vec![0.5; dim + 1]), Err(Error::Embeddings { .. })));
    assert!(matches!(read(Kind::Text, &vec![0.5; dim]), Err(Error::Embeddings { .. })));
    assert!(matches!(read(Kind::Latent, &vec![f32::NAN; dim]), Err(Error::Embeddings { .. })));
    assert!(matches!(read(Kind::Latent, &vec![0.5; 21 * dim]), Err(Error::ContextFull { tokens: 21, context: 20 })));
    assert_eq!(read(Kind::Latent, &[]), Err(Error::EmptyPrompt));
    assert!(session.tokens().is_empty());
    let other = Session::new(model.clone(), 20).expect("room");
    assert!(matches!(session.fork_at(&other.snapshot()), Err(Error::Config { .. })));
    let q8 = Pool::new(model.backend(), model.config(), DType::Q4_0, 64);
    assert!(matches!(q8.map(|_| ()), Err(Error::Config { .. })));
}

#[test]
fn keys_in_half_and_bytes_stay_near() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let all = ids(&model, 80);
        let head = head_dim(&model);
        let mut plain = Session::new(model.clone(), 100).expect("room");
        let wanted = floats(logits(&mut plain, Input::Tokens(&all)));
        for (format, near) in [(DType::F16, 2e-3), (DType::Q8_0, 3e-2)] {
            let session = roomy(&model, format);
            if !head.is_multiple_of(format.block_len()) {
                assert!(matches!(session.map(|_| ()), Err(Error::Config { .. })));
                continue;
            }
            let mut session = session.expect("room");
            let got = floats(logits(&mut session, Input::Tokens(&all)));
            let (mut error, mut size) = (0.0, 0.0);
            got.iter().zip(&wanted).for_each(|(g, w)| (error, size) = (error + (g - w).powi(2), size + w.powi(2)));
            assert!(error.sqrt() <= near * size.sqrt(), "{format}: {}", (error / size).sqrt());
            assert!(got != wanted, "{format} is kept in f32");
            // Pages of fewer bytes are copied as well.
            let mut fork = session.fork().expect("a fork");
            assert_eq!(decode(&mut fork, &[1], 4), decode(&mut session, &[1], 4));
        }
    }
}

fn floats(bits: Vec<u32>) -> Vec<f64> {
    bits.into_iter().map(|b| f32::from_bits(b).into()).collect()
}

fn head_dim(model: &Model<Any>) -> u32 {
    let Mixer::Attention(a) = &model.config().layers[0].mixer else { return 0 };
    a.dim
}
