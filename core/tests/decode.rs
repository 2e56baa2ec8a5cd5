//! What a decoded token costs: one submission, one small transfer back, nothing created.

use foveate_core::check::outline;
use foveate_core::gpu::{self, Gpu};
use foveate_core::model::{Family, Files, Model};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Clock, RollbackTarget, Session, op_class};
use foveate_core::weights::{Checkpoint, Memory, Source};
use foveate_core::{Any, Backend, Error};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The small llama's files; `None`, with the reason, where there is no golden case.
fn files() -> Option<Files> {
    let beside = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden")).into();
    let folder = std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from).join("models/llama");
    let Ok(weights) = std::fs::read(folder.join("model.safetensors")) else {
        assert!(!required("REQUIRE_GOLDEN"), "no golden model at {}", folder.display());
        println!("ignored: no golden model at {}", folder.display());
        return None;
    };
    let source: Box<dyn Source> = Box::new(Memory::new("model.safetensors", weights));
    let config = std::fs::read(folder.join("config.json")).expect("a configuration beside the weights");
    Some(Files {
        weights: pollster::block_on(Checkpoint::safetensors(vec![source])).expect("a whole file"),
        family: Family::from_json(&config).expect("a known family"),
        tokenizer: None,
        template: None,
    })
}

fn required(name: &str) -> bool {
    std::env::var(name).is_ok_and(|v| v == "1")
}

/// The small llama on the first adapter; `None`, with the reason, where there is no adapter either.
fn model() -> Option<Arc<Model<Any>>> {
    let files = files()?;
    let Some(adapter) = pollster::block_on(gpu::adapters()).into_iter().next() else {
        assert!(!required("REQUIRE_GPU"), "no adapter was found");
        println!("ignored: no adapter was found");
        return None;
    };
    let options = gpu::Options::default().software(true);
    let backend = pollster::block_on(Gpu::from_adapter(&adapter, options)).expect("a device");
    let mut report = |_| Ok(());
    let load = Model::load(Any::Gpu(backend), files, &mut report);
    Some(Arc::new(pollster::block_on(load).expect("the model loads")))
}

#[test]
fn decoding_submits_once_a_token_and_creates_nothing() {
    let Some(model) = model() else { return };
    let settings = [
        Sampling::default(),
        Sampling::default().temperature(0.7).top_k(20).top_p(0.9).min_p(0.01).repetition_penalty(1.2).seed(7),
    ];
    for settings in settings {
        let mut session = Session::new(model.clone(), 200).expect("room");
        session.prepare(&mut |_, _| {}).expect("pipelines");
        let mut sampler = Sampler::new(settings).expect("settings in range");
        let mut token = pollster::block_on(session.next(&[1, 2, 3], &mut sampler)).expect("a token");
        let mut step = |session: &mut Session<Any>| {
            token = pollster::block_on(session.next(&[token], &mut sampler)).expect("a token");
        };
        // The first steps find their scratch and staging memory.
        (0..3).for_each(|_| step(&mut session));
        let before = model.backend().stats();
        // Over the end of a page of the cache.
        (0..100).for_each(|_| step(&mut session));
        let after = model.backend().stats();
        assert_eq!(after.submissions - before.submissions, 100);
        assert_eq!(after.downloads - before.downloads, 100);
        assert_eq!(after.downloaded_bytes - before.downloaded_bytes, 400);
        // A position and a slot each, and the pages that were new.
        let uploaded = after.uploaded_bytes - before.uploaded_bytes;
        if settings.repetition_penalty == 1.0 {
            assert!((800..=800 + 4 * 2).contains(&uploaded), "{uploaded} bytes were uploaded");
        }
        // Besides the layers: the embedding, the logits and at most two for the token.
        let (layers, dispatches) = (model.config().layers.len() as f64, (after.dispatches - before.dispatches) as f64);
        let layer = (dispatches / 100.0 - 4.0) / layers;
        assert!(layer <= 7.0, "{layer} dispatches a layer");
        assert_eq!(after.buffers, before.buffers, "buffers were created while decoding");
        assert_eq!(after.bytes, before.bytes);
    }
}

#[test]
fn sessions_give_their_memory_back() {
    let Some(model) = model() else { return };
    let before = model.backend().stats().bytes;
    for _ in 0..5 {
        let mut session = Session::new(model.clone(), 100).expect("room");
        let mut sampler = Sampler::new(Sampling::default()).expect("settings in range");
        pollster::block_on(session.next(&[1, 2, 3], &mut sampler)).expect("a token");
        assert!(model.backend().stats().bytes > before);
    }
    // Scratch stays with the executor for whatever comes next.
    let after = model.backend().stats().bytes;
    assert!(after - before < 1 << 20, "{before} bytes before, {after} after");
}

#[test]
fn sessions_refuse_what_does_not_fit_and_stay_as_they_were() {
    let Some(model) = model() else { return };
    assert!(matches!(Session::new(model.clone(), 0), Err(Error::ContextFull { .. })));
    assert!(matches!(Session::new(model.clone(), 100_000), Err(Error::ContextFull { .. })));
    let mut session = Session::new(model.clone(), 10).expect("room");
    let mut sampler = Sampler::new(Sampling::default()).expect("settings in range");
    let mut next = |session: &mut Session<Any>, ids: &[u32]| pollster::block_on(session.next(ids, &mut sampler));
    assert_eq!(next(&mut session, &[]), Err(Error::EmptyPrompt));
    assert!(matches!(next(&mut session, &[1; 11]), Err(Error::ContextFull { tokens: 11, context: 10 })));
    assert!(matches!(next(&mut session, &[1, 999_999]), Err(Error::Tokenizer { .. })));
    assert!(session.tokens().is_empty());
    let whole = next(&mut session, &[5, 6, 7, 8]).expect("a token");
    assert!(matches!(next(&mut session, &[1; 7]), Err(Error::ContextFull { .. })));
    // Taken back and read again in two pieces, the same token follows.
    session.rollback(RollbackTarget::Len(2)).expect("two tokens are there");
    assert_eq!(next(&mut session, &[7, 8]), Ok(whole));
}

#[test]
fn a_penalty_knows_every_token_that_was_read_or_chosen() {
    let Some(model) = model() else { return };
    let settings = Sampling::default().repetition_penalty(1.3);
    let mut sampler = Sampler::new(settings).expect("settings in range");
    let mut session = Session::new(model.clone(), 40).expect("room");
    let (mut all, mut next) = (vec![1, 2, 3], vec![1, 2, 3]);
    for _ in 0..12 {
        let token = pollster::block_on(session.next(&next, &mut sampler)).expect("a token");
        // A session that reads everything anew marks everything anew.
        let mut fresh = Session::new(model.clone(), 40).expect("room");
        assert_eq!(pollster::block_on(fresh.next(&all, &mut sampler)), Ok(token));
        all.push(token);
        next = vec![token];
    }
}

#[test]
fn a_timed_session_names_its_ops_and_says_the_same() {
    let Some(model) = model() else { return };
    let sampler = || Sampler::new(Sampling::default()).expect("settings in range");
    let session = || Session::new(model.clone(), 64).expect("room");
    let next = |session: &mut Session<Any>, tokens: &[u32]| {
        pollster::block_on(session.next(tokens, &mut sampler())).expect("a token")
    };
    let ticking = || -> Clock {
        let ticks = AtomicU32::new(0);
        Box::new(move || f64::from(ticks.fetch_add(1, Ordering::Relaxed)))
    };
    let (mut plain, mut timed) = (session(), session());
    assert!(timed.time(Some(ticking())).is_empty(), "nothing was timed before");
    assert_eq!(next(&mut timed, &[1, 2, 3]), next(&mut plain, &[1, 2, 3]));
    let prompt = timed.time(Some(ticking()));
    assert_eq!(next(&mut timed, &[4]), next(&mut plain, &[4]));
    let step = timed.time(None);
    for ops in [&prompt, &step] {
        let names: Vec<String> = ops.iter().map(|(op, _)| op_class(op)).collect();
        assert!(names[0].starts_with("embed ") && names[names.len() - 1] == "sample", "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("attention H=")), "{names:?}");
        assert!(ops.iter().all(|(_, seconds)| *seconds == 1.0));
    }
    next(&mut timed, &[5]);
    assert!(timed.time(None).is_empty(), "no clock, no times");
}

/// What compiles while weights are on their way is what sessions run, however much room they have.
#[test]
fn sessions_run_what_their_outline_names() {
    let Some(model) = model() else { return };
    let Any::Gpu(gpu) = model.backend() else { unreachable!("a model on a GPU") };
    let files = files().expect("it was there before");
    gpu.compile(&pollster::block_on(outline(&files)).expect("an outline"), &mut |_, _| {}).expect("pipelines");
    // Less room than this has forms of its own: fewer keys than attention cuts into parts.
    for context in [100, 200, model.config().context] {
        let session = Session::new(model.clone(), context).expect("room");
        let mut missing = 0;
        session.prepare(&mut |_, of| missing = of).expect("pipelines");
        assert_eq!(missing, 0, "a session of {context} tokens");
    }
}
