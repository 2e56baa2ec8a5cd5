//! The engine as a library.

use crate::{folder, path};
use foveate::serve::{Answer, Engine, Event, Options, Refused, Request};
use foveate::{Device, Generation, Model, Prompt, Token, Usage};
use std::time::{Duration, Instant};

pub(super) fn model() -> Model {
    model_by(None)
}

/// The model with another chat template.
pub(super) fn model_by(template: Option<&str>) -> Model {
    let folder = folder();
    if let Some(template) = template {
        std::fs::write(folder.path().join("chat_template.jinja"), template).expect("room on the disk");
    }
    let model = Model::builder().device(Device::Cpu).threads(1).open(path(&folder)).expect("a model");
    // Its folder is gone when vectors are asked for.
    model.with_recipe(Default::default())
}

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::default();
    options.prefixes = 0;
    change(&mut options);
    options
}

fn engine(change: impl FnOnce(&mut Options)) -> Engine {
    Engine::new(model(), options(change)).expect("an engine")
}

/// Ids of no special tokens.
fn prompt(seed: u32, len: u32) -> Prompt {
    (0..len).map(|i| 4 + (seed * 31 + i * (7 + seed)) % 90).collect::<Vec<u32>>().into()
}

fn request(seed: u32, len: u32, tokens: u64) -> Request {
    Request::new(prompt(seed, len), Generation::new().max_tokens(tokens).ignore_eos(true))
}

/// The ids of an answer, and what it cost.
fn all(mut answer: Answer) -> (Vec<u32>, Usage) {
    let mut ids = Vec::new();
    loop {
        match answer.next_blocking().expect("an end behind the pieces") {
            Event::Piece(piece) => ids.extend(piece.token.map(|token| token.id)),
            Event::End { usage, .. } => return (ids, usage),
            other => panic!("{other:?}"),
        }
    }
}

const SHAPES: [(u32, u64); 12] =
    [(5, 40), (300, 8), (129, 20), (128, 3), (1, 60), (500, 1), (64, 30), (9, 9), (40, 40), (200, 2), (3, 50), (77, 7)];

fn requests() -> impl Iterator<Item = Request> {
    (0..).zip(SHAPES).map(|(seed, (len, tokens))| request(seed, len, tokens))
}

#[test]
fn engine_answers_alike_alone_and_in_any_batch() {
    let engine = engine(|_| {});
    let submit = |request| engine.submit(request).expect("room in the queue");
    let alone: Vec<Vec<u32>> = requests().map(|request| all(submit(request)).0).collect();
    assert!(alone.iter().zip(SHAPES).all(|(ids, (_, tokens))| ids.len() as u64 == tokens));
    let together: Vec<Answer> = requests().map(submit).collect();
    let together: Vec<Vec<u32>> = together.into_iter().map(|answer| all(answer).0).collect();
    assert_eq!(together, alone);
    // And as the model itself goes on.
    for ((seed, (len, tokens)), ids) in (0..).zip(SHAPES).zip(&alone) {
        let options = Generation::new().max_tokens(tokens).ignore_eos(true);
        let pieces = engine.model().generate(prompt(seed, len), &options).expect("a generation");
        let single: Vec<u32> = pieces.filter_map(|piece| Some(piece.expect("a piece").token?.id)).collect();
        assert_eq!(&single, ids, "a prompt of {len} tokens");
    }
}

#[test]
fn engine_draws_and_weighs_alike_in_any_batch() {
    let engine = engine(|_| {});
    let requests = || {
        (0..6).map(|seed| {
            let options =
                Generation::new().max_tokens(12).ignore_eos(true).temperature(0.9).top_p(0.8).seed(seed.into());
            // Some are chosen on the host, for their probabilities.
            Request::new(prompt(seed, 20), if seed % 2 == 0 { options.logprobs(2) } else { options })
        })
    };
    let alone: Vec<_> = requests().map(|request| all(engine.submit(request).expect("room")).0).collect();
    let together: Vec<Answer> = requests().map(|request| engine.submit(request).expect("room")).collect();
    let together: Vec<_> = together.into_iter().map(|answer| all(answer).0).collect();
    assert_eq!(together, alone);
}

/// A real model with quantised weights, whose products might depend on how many tokens there are.
fn quantised() -> Option<Model> {
    let folder = std::env::var_os("FOVEATE_MODELS").map(std::path::PathBuf::from).unwrap_or_default();
    let path = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if !path.exists() {
        assert!(std::env::var_os("REQUIRE_GOLDEN").is_none(), "there is no {}", path.display());
        eprintln!("ignored: there is no {}", path.display());
        return None;
    }
    Some(Model::builder().device(Device::Cpu).open(path).expect("a model"))
}

/// The tokens of an answer with their log-probabilities.
fn weighed(mut answer: Answer) -> Vec<Token> {
    let mut tokens = Vec::new();
    loop {
        match answer.next_blocking().expect("an end behind the pieces") {
            Event::Piece(piece) => tokens.extend(piece.token),
            Event::End { .. } => return tokens,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn engine_answers_to_the_bit_in_any_batch() {
    let Some(model) = quantised() else { return };
    let engine = Engine::new(model.clone(), options(|_| {})).expect("an engine");
    // One of them is so long that its keys are cut into chunks, and some are shorter than a tile.
    let submit = |engine: &Engine, seed: u32| {
        let generation = Generation::new().max_tokens(5).ignore_eos(true).logprobs(0);
        let len = if seed == 5 { 600 } else { 3 + 7 * seed };
        engine.submit(Request::new(prompt(seed, len), generation)).expect("room in the queue")
    };
    let alone: Vec<_> = (0..16).map(|seed| weighed(submit(&engine, seed))).collect();
    assert!(alone.iter().all(|tokens| tokens.len() == 5), "{alone:?}");
    for count in [8, 16] {
        let together: Vec<Answer> = (0..count).map(|seed| submit(&engine, seed)).collect();
        let together: Vec<_> = together.into_iter().map(weighed).collect();
        assert!(together == alone[..count as usize], "{count} together: {together:?} and {alone:?}");
    }
    // Four pages, where each grows to three: the youngest gives its own up and takes them back as they were.
    let tight = |options: &mut Options| (options.tokens, options.context) = (Some(256), Some(256));
    let engine = Engine::new(model, options(tight)).expect("an engine");
    let long = |seed: u32| {
        let generation = Generation::new().max_tokens(80).ignore_eos(true).logprobs(0);
        engine.submit(Request::new(prompt(seed, 55 + seed), generation)).expect("room in the queue")
    };
    let alone: Vec<_> = (0..3).map(|seed| weighed(long(seed))).collect();
    let together: Vec<Answer> = (0..3).map(long).collect();
    let together: Vec<_> = together.into_iter().map(weighed).collect();
    assert!(engine.metrics().preempted.get() > 0, "none gave its pages up");
    assert!(together == alone, "{together:?} and {alone:?}");
}

#[test]
fn engine_preempts_and_loses_nothing() {
    let requests = || (0..5).map(|seed| request(seed, 60, 180));
    let roomy = engine(|_| {});
    let alone: Vec<_> = requests().map(|request| all(roomy.submit(request).expect("room")).0).collect();
    // Eight pages, where all of them together grow to twenty.
    let tight = engine(|options| options.tokens = Some(512));
    let answers: Vec<Answer> = requests().map(|request| tight.submit(request).expect("room")).collect();
    let together: Vec<_> = answers.into_iter().map(|answer| all(answer).0).collect();
    assert!(tight.metrics().preempted.get() > 0);
    assert_eq!(together, alone);
}

#[test]
fn engine_reads_what_prompts_begin_with_once() {
    let engine = engine(|options| options.prefixes = 4);
    let (first, usage) = all(engine.submit(request(1, 300, 10)).expect("room"));
    assert_eq!(usage.cached_tokens, 0);
    let (again, usage) = all(engine.submit(request(1, 300, 10)).expect("room"));
    assert_eq!((usage.prompt_tokens, usage.cached_tokens), (300, 256));
    assert_eq!(again, first);
    // All of them are queued at once, and one of them reads for all.
    let answers: Vec<Answer> = (0..3).map(|_| engine.submit(request(2, 400, 5)).expect("room")).collect();
    let cached: Vec<u64> = answers.into_iter().map(|answer| all(answer).1.cached_tokens).collect();
    assert_eq!(cached, [0, 384, 384]);
}

/// Waits until it holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn dropped_answers_free_their_pages() {
    let engine = engine(|_| {});
    let mut answers: Vec<Answer> = (0..4).map(|seed| engine.submit(request(seed, 100, 1400)).expect("room")).collect();
    assert!(matches!(answers[0].next_blocking(), Some(Event::Piece(_))));
    drop(answers);
    until("pages are free", || engine.metrics().pages_used.get() == 0 && engine.metrics().cancelled.get() == 4);
    assert_eq!(all(engine.submit(request(9, 3, 4)).expect("room")).0.len(), 4);
}

#[test]
fn full_queue_refuses() {
    let engine = engine(|options| (options.sequences, options.queue) = (1, 2));
    let mut answers = Vec::new();
    let refused = loop {
        match engine.submit(request(1, 10, 1000)) {
            Ok(answer) => answers.push(answer),
            Err(refused) => break refused,
        }
        assert!(answers.len() <= 3, "one runs and two wait");
    };
    assert!(matches!(refused, Refused::Full { waiting: 2 }), "{refused}");
    drop(answers);
    until("room in the queue", || engine.submit(request(1, 10, 1)).is_ok());
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let engine = engine(|options| options.context = Some(100));
    let refuse = |request: Request| engine.submit(request).map(|_| ()).expect_err("refused").to_string();
    assert!(refuse(request(1, 101, 1)).contains("101 tokens do not fit the context of 100"));
    assert!(refuse(request(1, 0, 1)).contains("no tokens"));
    assert!(refuse(Request::new(vec![u32::MAX], Generation::new())).contains("outside of the vocabulary"));
    assert!(refuse(Request::new(vec![5], Generation::new().temperature(-1.0))).contains("temperature"));
    assert!(matches!(Engine::new(model(), options(|o| o.sequences = 0)), Err(foveate::Error::Usage { .. })));
    assert!(matches!(Engine::new(model(), options(|o| o.context = Some(9999))), Err(foveate::Error::Usage { .. })));
}

#[test]
fn stopped_engine_ends_what_it_has_and_refuses_more() {
    let engine = engine(|_| {});
    let answer = engine.submit(request(1, 10, 20)).expect("room");
    engine.stop(Duration::from_secs(60));
    assert_eq!(all(answer).0.len(), 20);
    assert!(matches!(engine.submit(request(1, 10, 20)), Err(Refused::Closed)));
}
