//! Speculation against plain decoding: the same tokens, whatever is drafted.

use super::{files, tiny};
use foveate_core::Any;
use foveate_core::constrain::Constraint;
use foveate_core::generate::Speculation;
use foveate_core::generate::{Draft, DraftModel, Drafting, Drafts, Finish, Generation, Generator, Piece, Prompt};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::Model;
use foveate_core::sample::Sampler;
use foveate_core::session::Session;
use std::sync::{Arc, LazyLock};

/// On the definitions of the kernels, steps of one token and of several round alike.
fn model() -> Arc<Model<Any>> {
    static MODEL: LazyLock<Arc<Model<Any>>> = LazyLock::new(|| {
        let mut report = |_| Ok(());
        let model = Model::load(Any::Host(HostBackend::reference()), files(), &mut report);
        Arc::new(pollster::block_on(model).expect("it loads"))
    });
    MODEL.clone()
}

struct Told {
    ids: Vec<u32>,
    text: String,
    finish: Finish,
    read: Vec<u32>,
    drafts: Drafts,
}

fn told(prompt: impl Into<Prompt>, options: &Generation) -> Told {
    let mut generator = Generator::start(model(), prompt, tiny::CONTEXT, DType::F32, options).expect("a generation");
    let pieces: Vec<Piece> = generator.by_ref().collect::<Result<_, _>>().expect("it runs");
    Told {
        ids: pieces.iter().filter_map(|piece| piece.token.as_ref()).map(|token| token.id).collect(),
        text: pieces.iter().map(|piece| piece.text.as_str()).collect(),
        finish: generator.finish().expect("it ended").clone(),
        read: generator.session().tokens(),
        drafts: generator.drafts(),
    }
}

/// Both ways; returns the tokens that were drafted and accepted.
#[track_caller]
fn same(prompt: &Prompt, options: &Generation, speculation: Speculation) -> Drafts {
    let plain = told(prompt.clone(), options);
    let drafted = told(prompt.clone(), &options.clone().speculate(speculation));
    assert_eq!(drafted.ids, plain.ids);
    assert_eq!((drafted.text, drafted.finish, drafted.read), (plain.text, plain.finish, plain.read));
    assert_eq!(plain.drafts, Drafts::default());
    drafted.drafts
}

/// A prompt that repeats itself.
fn prompt(rng: &mut Rng) -> Prompt {
    let part: Vec<u32> = (0..3 + rng.below(6)).map(|_| 10 + rng.below(90)).collect();
    Prompt::Ids(part.repeat(2))
}

#[test]
fn prompt_lookup_gives_the_greedy_tokens_of_a_hundred_prompts() {
    let (mut rng, mut accepted) = (Rng::new(3), 0);
    for _ in 0..100 {
        let options = Generation::new().max_tokens(24).ignore_eos(true);
        accepted += same(&prompt(&mut rng), &options, Speculation::lookup()).accepted;
    }
    assert!(accepted > 50, "{accepted} tokens were accepted");
}

/// Ways to choose tokens that a draft must not disturb.
fn ways() -> Vec<Generation> {
    let drawn = || Generation::new().temperature(0.9).max_tokens(30).seed(8);
    let with = |set: &[(&str, &str)]| {
        let mut options = drawn();
        set.iter().for_each(|(name, value)| options.samplers.set(name, value).expect("a name"));
        options
    };
    vec![
        drawn(),
        drawn().top_p(0.8).repetition_penalty(1.3).ignore_eos(true),
        Generation::new().repetition_penalty(1.2).max_tokens(30),
        drawn().logprobs(2),
        drawn().mirostat(2, 3.0, 0.1),
        drawn().min_tokens(20),
        with(&[("frequency-penalty", "0.4"), ("dry-multiplier", "0.8")]),
        with(&[("no-repeat-ngram", "3"), ("typical", "0.9"), ("ban", "e")]),
        Generation::new().max_tokens(40).stop(["t", "an"]),
        drawn().stop(["h"]).max_tokens(60),
        drawn().constraint(Constraint::regex("[a-z ]{5,60}").expect("a pattern")).max_tokens(60),
        Generation::new().constraint(Constraint::regex("(the (thing|end) is [a-e]{2,9}, )+").expect("a pattern")),
    ]
}

/// Proposes random tokens: nearly always wrong ones.
pub(crate) struct Guesses(Rng);

impl Guesses {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }
}

impl Draft for Guesses {
    fn draft<'a>(&'a mut self, _: &'a [u32], most: usize, _: Sampler) -> Drafting<'a> {
        let draft = (0..most + 2).map(|_| self.0.below(400)).collect();
        Box::pin(std::future::ready(Ok(draft)))
    }
}

#[test]
fn every_drafter_gives_the_tokens_of_plain_decoding_for_the_same_seed() {
    let mut rng = Rng::new(5);
    for options in ways() {
        let prompt = prompt(&mut rng);
        same(&prompt, &options, Speculation::lookup());
        let guesses = same(&prompt, &options, Speculation::with(Guesses(Rng::new(1))));
        assert!(guesses.accepted <= guesses.drafted / 4, "{guesses:?}");
        let session = Session::new(model(), tiny::CONTEXT).expect("room");
        let own = DraftModel::new(session, &model()).expect("one vocabulary");
        same(&prompt, &options, Speculation::with(own));
    }
}

#[test]
fn draft_model_that_is_the_model_is_always_right() {
    let session = Session::new(model(), tiny::CONTEXT).expect("room");
    let own = Speculation::with(DraftModel::new(session, &model()).expect("one vocabulary"));
    let options = Generation::new().temperature(1.0).seed(2).max_tokens(50).ignore_eos(true);
    // A second generation finds the drafter again.
    for _ in 0..2 {
        let drafts = same(&Prompt::Ids(vec![20, 30, 40]), &options, own.clone());
        assert!(drafts.accepted > 20 && drafts.accepted == drafts.drafted, "{drafts:?}");
    }
}

#[test]
fn samplers_of_several_answers_draw_on_their_own() {
    let options =
        |sequence| Generation::new().temperature(1.0).seed(2).max_tokens(12).ignore_eos(true).sequence(sequence);
    let answers: Vec<Vec<u32>> = (0..4).map(|sequence| told(vec![20u32, 30], &options(sequence)).ids).collect();
    assert_eq!(answers[0], told(vec![20u32, 30], &options(0)).ids);
    assert!((1..4).all(|i| answers[i] != answers[i - 1]), "{answers:?}");
}

#[test]
fn surprise_is_the_mean_of_the_tokens_probabilities() {
    let options = Generation::new().temperature(1.0).seed(5).max_tokens(20).ignore_eos(true).logprobs(0).surprise(true);
    let mut generator = Generator::start(model(), vec![20u32, 30], 64, DType::F32, &options).expect("a generation");
    let tokens: Vec<_> = generator.by_ref().filter_map(|piece| piece.expect("it runs").token).collect();
    let bits = tokens.iter().map(|token| -token.likelihood.expect("asked for").logprob / 2f64.ln()).sum::<f64>();
    let mean = generator.surprise_bits().expect("asked for");
    assert!((mean - bits / 20.0).abs() < 1e-6, "{mean} and {}", bits / 20.0);
}
