//! A model whose sliding layers keep their window, beside a twin whose layers keep everything.

use super::numeric::{decode, greedy, logits};
use super::support::{Fixed, adapter, cpu, folder, load};
use foveate_core::cache::{Kind, PAGE, Pool, SegmentId};
use foveate_core::coprocessor::{Job, Policy, Splice};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::{Family, Files, Model};
use foveate_core::session::{Input, RollbackTarget, Session, Turn};
use foveate_core::{Any, Error};
use pollster::block_on;
use std::sync::Arc;

/// Tokens that a session has room for.
const CONTEXT: u32 = 1800;
/// Pages of a window of 16 tokens, of a step of 512 and of where both begin.
const WINDOW: u32 = 10;

/// Gemma 3 with sliding layers of 16 tokens, for long texts.
fn gemma(backend: Any) -> Option<Arc<Model<Any>>> {
    let folder = folder("gemma3")?;
    let weights = std::fs::read(folder.join("model.safetensors")).expect("weights in the folder");
    let config = std::fs::read_to_string(folder.join("config.json")).expect("a configuration beside the weights");
    let config = config.replace(r#""max_position_embeddings": 256"#, r#""max_position_embeddings": 4096"#);
    let family = Family::from_json(config.as_bytes()).expect("a known family");
    let weights = super::support::checkpoint("model.safetensors", weights);
    let model = load(backend, Files { weights, family, tokenizer: None, template: None });
    assert_eq!(model.config().context, 4096);
    Some(model)
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * i % 251 + 13 * i) % 320).collect()
}

fn pages(session: &Session<Any>) -> (u32, u32) {
    let windows = session.pool().holders().windows.as_ref().map(|(pages, _)| pages.clone()).expect("windows");
    (windows.count() - windows.free(), windows.count())
}

/// Two sessions: over a pool of `sequences` windows, and over one that never gives up anything.
fn twins(model: &Arc<Model<Any>>, format: DType, sequences: u32) -> [Session<Any>; 2] {
    let (backend, config) = (model.backend(), model.config());
    let pool = Pool::with_windows(backend, config, format, 4 * CONTEXT, sequences).expect("memory");
    let whole = Pool::new(backend, config, format, 8 * CONTEXT).expect("memory");
    [pool, whole].map(|pool| Session::in_pool(model.clone(), Arc::new(pool), CONTEXT).expect("room"))
}

#[test]
fn a_long_text_holds_a_bounded_number_of_pages_in_sliding_layers() {
    for model in [Some(cpu()), adapter()].into_iter().flatten().filter_map(gemma) {
        for format in [DType::F32, DType::F16] {
            let [mut session, mut whole] = twins(&model, format, 1);
            let [all, windowed] = Pool::<Any>::page_bytes(model.config(), format).expect("a format");
            assert_eq!(windowed, 2 * all, "two of three layers slide");
            let tokens = u64::from((4 * CONTEXT).div_ceil(PAGE));
            assert_eq!(session.pool().bytes(), tokens * all + u64::from(WINDOW) * windowed);
            let (text, mut at) = (text(CONTEXT), 0);
            for piece in text[..1600].chunks(520) {
                session.read(Input::Tokens(piece)).expect("it reads");
                whole.read(Input::Tokens(piece)).expect("it reads");
                at += piece.len() as u32;
                assert_eq!(session.pool().pages().count() - session.pool().pages().free(), at.div_ceil(PAGE));
                assert!(pages(&session).0 <= WINDOW, "{} pages at {at}", pages(&session).0);
            }
            assert_eq!(pages(&session).1, WINDOW);
            assert_eq!(pages(&whole).0, 1600u32.div_ceil(PAGE));
            let next = Input::Tokens(&text[1600..1640]);
            let wanted = logits(&mut whole, next);
            assert!(logits(&mut session, next) == wanted, "{format}: a window sees something else");
            assert_eq!(decode(&mut session, &[1], 12), decode(&mut whole, &[1], 12));
            // What is still kept is gone back to, and what is not is said.
            session.rollback(RollbackTarget::Len(1600)).expect("it is kept");
            assert!(logits(&mut session, next) == wanted, "{format}: after a rollback");
            let far = session.rollback(RollbackTarget::Len(300));
            assert_eq!(far, Err(Error::Rollback { to: 300, nearest: 0, replay: 300 }));
            let prefix = session.best_prefix(&text[..300]);
            assert_eq!((prefix.same, prefix.len, prefix.replay()), (300, 0, 300));
            // A fork needs a page of its own there as well, and a snapshot is not written.
            let mut fork = session.fork().expect("a fork");
            assert_eq!(decode(&mut fork, &[1], 3), decode(&mut session, &[1], 3));
        }
    }
}

#[test]
fn long_texts_step_together_as_each_alone() {
    for model in [Some(cpu()), adapter()].into_iter().flatten().filter_map(gemma) {
        let [first, whole] = twins(&model, DType::F32, 3);
        let text = text(CONTEXT);
        let mut batch = first.batch(2).expect("room for two");
        let mut sessions = [(); 2].map(|()| first.fork().expect("a fork"));
        let mut alone = [(); 2].map(|()| whole.fork().expect("a fork"));
        for (i, n) in [1020, 600].into_iter().enumerate() {
            sessions[i].read(Input::Tokens(&text[i..n])).expect("it reads");
            alone[i].read(Input::Tokens(&text[i..n])).expect("it reads");
        }
        let mut samplers = [greedy(), greedy()];
        let mut said = vec![vec![1, 2]];
        for step in 0..12 {
            let mut turns: Vec<_> = sessions
                .iter_mut()
                .zip(&mut samplers)
                .zip(&said[step])
                .map(|((session, sampler), &token)| Turn { session, token, sampler })
                .collect();
            said.push(block_on(batch.next(&mut turns)).expect("a token of each"));
        }
        for (i, alone) in alone.iter_mut().enumerate() {
            let wanted = decode(alone, &[said[0][i]], 12);
            assert_eq!(said[1..].iter().map(|ids| ids[i]).collect::<Vec<_>>(), wanted, "sequence {i}");
        }
        assert!(pages(&sessions[0]).0 <= 2 * WINDOW, "{} pages", pages(&sessions[0]).0);
    }
}

#[test]
fn latents_at_a_snapshot_find_its_window() {
    let Some(model) = gemma(cpu()) else { return };
    let said = twins(&model, DType::F32, 3).map(|mut session| {
        let (text, width) = (text(CONTEXT), model.config().dim as usize);
        session.read(Input::Tokens(&text[..700])).expect("it reads");
        let (mut job, task) = Job::new(session.snapshot(), 2);
        block_on(task.run(&mut Fixed((0..2 * width).map(|i| (i as f32 * 0.37).sin()).collect())));
        // Far enough that the session by itself has given up what the snapshot sees.
        session.read(Input::Tokens(&text[700..1400])).expect("it reads");
        assert!(matches!(session.splice(&mut job, Policy::AtSnapshot), Splice::Spliced(_)));
        assert_eq!(session.segments().iter().map(|s| s.len).collect::<Vec<_>>(), [700, 2, 700]);
        logits(&mut session, Input::Tokens(&text[1400..1410]))
    });
    assert!(said[0] == said[1], "latents saw something else");
}

#[test]
fn a_budget_in_bytes_is_spent_on_long_texts() {
    let Some(model) = gemma(cpu()) else { return };
    let [all, windowed] = Pool::<Any>::page_bytes(model.config(), DType::F32).expect("a format");
    let pool = |bytes| Pool::with_budget(model.backend(), model.config(), DType::F32, bytes, 2);
    let counts = |pool: Pool<Any>| (pool.pages().count(), pool.holders().windows.as_ref().map(|w| w.0.count()));
    assert_eq!(counts(pool(7 * (all + windowed) + all).expect("room")), (7, Some(7)));
    let bytes = 100 * all + 2 * u64::from(WINDOW) * windowed;
    let most = pool(bytes + all - 1).expect("room");
    assert_eq!(most.bytes(), bytes);
    assert_eq!(counts(most), (100, Some(2 * WINDOW)));
    assert!(matches!(pool(all + windowed - 1).map(|_| ()), Err(Error::OutOfMemory { .. })));
}

/// The bits of the logits behind one more token, if there is a page for it.
fn probe(session: &Session<Any>) -> Option<Vec<u32>> {
    let mut bits = Vec::new();
    let rows = |rows: &[f32]| bits.extend(rows.iter().map(|x| x.to_bits()));
    let mut fork = session.fork().expect("a fork");
    match block_on(fork.logits(&[7], rows)) {
        Ok(()) => Some(bits),
        Err(Error::OutOfPages { .. } | Error::ContextFull { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Whether a verb was done; if not, it has changed nothing.
fn done(session: &mut Session<Any>, verb: impl FnOnce(&mut Session<Any>) -> foveate_core::Result<()>) -> bool {
    let (version, free) = (session.version(), pages(session));
    match verb(session) {
        Ok(()) => true,
        Err(Error::OutOfPages { .. } | Error::Rollback { .. } | Error::ContextFull { .. }) => {
            assert_eq!((session.version(), pages(session)), (version, free));
            false
        }
        Err(other) => panic!("{other}"),
    }
}

fn segment(session: &Session<Any>, n: u32) -> SegmentId {
    session.segments()[n as usize % session.segments().len()].id
}

/// Random verbs on both twins: what the one does the other does, and both then say the same.
fn play(model: &Arc<Model<Any>>, seed: u64) -> [u32; 2] {
    let [first, whole] = twins(model, DType::F32, 2);
    let (mut rng, mut all, mut counts) = (Rng::new(seed), vec![[first, whole]], [0; 2]);
    for _ in 0..60 {
        let (at, fork) = (rng.below(all.len() as u32) as usize, all.len() < 3);
        let [one, other] = &mut all[at];
        let len = one.tokens().len() as u32;
        let mut ok = true;
        match rng.below(10) {
            0..3 => {
                let tokens: Vec<u32> = (0..1 + rng.below(400)).map(|_| rng.below(320)).collect();
                ok = done(one, |s| s.read(Input::Tokens(&tokens)));
                ok.then(|| other.read(Input::Tokens(&tokens)).expect("it reads"));
            }
            3 => {
                let rows: Vec<f32> = (0..64 * (1 + rng.below(3))).map(|i| (i as f32 * 0.37).sin()).collect();
                let rows = Input::Embeddings(Kind::Latent, &rows);
                ok = done(one, |s| s.read(rows));
                ok.then(|| other.read(rows).expect("it reads"));
            }
            4 if fork => {
                let forks = [one.fork().expect("a fork"), other.fork().expect("a fork")];
                all.push(forks);
                continue;
            }
            5 => [one, other].map(|s| s.checkpoint()).into_iter().collect(),
            6 => {
                let to = len - rng.below(len + 1).min(rng.below(900));
                ok = done(one, |s| s.rollback(RollbackTarget::Len(to)).or_else(|_| s.rewind(to)));
                ok.then(|| other.rollback(RollbackTarget::Len(to)).expect("it keeps everything"));
            }
            7 if len > 0 => {
                let n = rng.below(9);
                let [id, twin] = [segment(one, n), segment(other, n)];
                ok = done(one, |s| s.remove(id));
                ok.then(|| other.remove(twin).expect("it keeps everything"));
            }
            8 if rng.below(3) == 0 => {
                let (sinks, recent) = (rng.below(8), rng.below(500));
                ok = done(one, |s| s.evict(sinks, recent));
                ok.then(|| other.evict(sinks, recent).expect("it keeps everything"));
            }
            9 if len > 0 => {
                let bytes = block_on(one.save()).expect("it is whole");
                assert!(bytes == block_on(other.save()).expect("it is whole"), "they save something else");
                let fresh = Session::in_pool(model.clone(), one.pool().clone(), CONTEXT).expect("room");
                let mut fresh = [fresh, Session::in_pool(model.clone(), other.pool().clone(), CONTEXT).expect("room")];
                ok = done(&mut fresh[0], |s| block_on(s.restore(bytes.clone())));
                if ok {
                    // The twin goes on as it is: it keeps what the file does not have.
                    let [restored, mut twin] = fresh;
                    block_on(twin.restore(bytes)).expect("it fits");
                    assert_eq!(probe(&twin), probe(other));
                    all[at][0] = restored;
                }
            }
            _ if all.len() > 1 => drop(all.swap_remove(at)),
            _ => {}
        }
        counts[usize::from(ok)] += 1;
        for [one, other] in &all {
            assert_eq!(one.tokens(), other.tokens());
            if let Some(bits) = probe(one) {
                assert!(Some(bits) == probe(other), "they say something else");
            }
        }
    }
    let pool = all[0][0].pool().clone();
    drop(all);
    assert_eq!(pool.pages().free(), pool.pages().count(), "pages that nobody holds are not free");
    let windows = &pool.holders().windows.as_ref().expect("windows").0;
    assert_eq!(windows.free(), windows.count(), "pages that nobody holds are not free");
    counts
}

#[test]
fn windows_say_what_whole_sequences_say_through_any_verbs() {
    // The definitions: what they give is the same in pieces of any length.
    let Some(model) = gemma(Any::Host(HostBackend::reference())) else { return };
    let (mut refused, mut done) = (0, 0);
    for seed in 0..6 {
        println!("seed {seed}");
        let counts = play(&model, seed);
        (refused, done) = (refused + counts[0], done + counts[1]);
    }
    println!("{done} done, {refused} refused");
    assert!(refused > 0 && done > 4 * refused);
}
