//! Pairs of options: both hold, or the pair is refused by an error that names both.

use super::speculation::Guesses;
use super::{begun, model, prompt, tiny};
use foveate_core::Result;
use foveate_core::constrain::Constraint;
use foveate_core::coprocessor::Cancel;
use foveate_core::generate::trial::{Cautious, cautious, draw};
use foveate_core::generate::{
    BeamSearch, ContrastiveSearch, Drafts, Finish, Generation, Generator, Guided, Speculation, Token, beam_search,
    contrastive_search,
};
use foveate_core::kernels::dtype::DType;
use pollster::block_on;
use std::collections::BTreeSet;

/// The result of a generation, as far as a way to generate tells it.
#[derive(Clone, Debug, Default)]
struct Outcome {
    ids: Vec<u32>,
    text: String,
    finish: Option<Finish>,
    tokens: Vec<Token>,
    surprise: Option<f64>,
    drafts: Drafts,
}

type Run<'a> = &'a dyn Fn(&Generation) -> Result<Outcome>;
/// Sets an option.
type Set = fn(Generation) -> Generation;
/// Returns true if the outcome of a generation shows the effect of an option.
type Holds = fn(&Generation, &Outcome, Run<'_>) -> bool;

struct Opt {
    /// As errors name it.
    name: &'static str,
    set: Set,
    holds: Holds,
}

fn sampler(mut options: Generation, name: &str, value: &str) -> Generation {
    options.samplers.set(name, value).expect("a name");
    options
}

fn is_greedy(o: &Generation) -> bool {
    let mirostat = o.samplers.mirostat.is_some();
    let narrow = o.sampling.top_p < 0.01 || o.samplers.top_n_sigma > 0.0;
    !mirostat && (narrow || o.sampling.temperature == 0.0 || o.sampling.top_k == 1 || o.sampling.min_p == 1.0)
}

/// Mirostat replaces filters, and the likeliest token needs none: docs/decoding.md says both.
fn one_token(o: &Generation, found: &Outcome, run: Run<'_>) -> bool {
    o.samplers.mirostat.is_some() || run(&o.clone().temperature(0.0)).is_ok_and(|greedy| greedy.ids == found.ids)
}

fn other_seed(o: &Generation, found: &Outcome, run: Run<'_>) -> bool {
    let seed = o.sampling.seed + 1;
    is_greedy(o) || found.ids.is_empty() || run(&o.clone().seed(seed)).is_ok_and(|other| other.ids != found.ids)
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz ";
/// The token of the letter b.
const LETTER: u32 = 72;
/// A token that is excluded.
const EXCLUDED: u32 = 30;

fn options() -> Vec<Opt> {
    let all: Vec<(&'static str, Set, Holds)> = vec![
        ("max tokens", |o| o.max_tokens(7), |_, found, _| found.ids.len() <= 7),
        ("stop strings", |o| o.stop(["a", "o"]), |_, found, _| !found.text.contains(['a', 'o'])),
        ("ignore eos", |o| o.ignore_eos(true), |_, found, _| !matches!(found.finish, Some(Finish::EndOfText { .. }))),
        (
            "a constraint",
            |o| o.constraint(Constraint::regex("[a-z ]{10,30}").expect("a pattern")),
            |_, found, _| found.text.chars().all(|c| LETTERS.contains(c)) && found.text.len() <= 30,
        ),
        ("temperature", |o| o.temperature(1.5), |_, _, _| true),
        ("seed", |o| o.seed(9), other_seed),
        (
            "sequence",
            |o| o.sequence(2),
            |o, found, run| {
                is_greedy(o) || found.ids.is_empty() || run(&o.clone().sequence(3)).is_ok_and(|r| r.ids != found.ids)
            },
        ),
        ("top-k", |o| o.top_k(1), one_token),
        ("top-p", |o| o.top_p(1e-6), one_token),
        ("min-p", |o| o.min_p(1.0), one_token),
        ("top-n-sigma", |o| sampler(o, "top-n-sigma", "0.000001"), one_token),
        (
            "mirostat",
            |o| o.mirostat(2, 3.0, 0.1),
            |o, found, run| {
                let mut alone = o.clone().top_k(0).top_p(1.0).min_p(0.0);
                alone.samplers.top_n_sigma = 0.0;
                run(&alone).is_ok_and(|alone| alone.ids == found.ids)
            },
        ),
        (
            "frequency penalty",
            |o| sampler(o, "frequency-penalty", "10000"),
            |_, found, _| found.ids.iter().collect::<BTreeSet<_>>().len() == found.ids.len(),
        ),
        (
            "n-grams",
            |o| sampler(o, "no-repeat-ngram", "2"),
            |_, found, _| {
                let all = [&prompt()[..], &found.ids].concat();
                let fresh = all.windows(2).skip(prompt().len() - 1);
                fresh
                    .enumerate()
                    .all(|(at, pair)| !all[..prompt().len() + at].windows(2).any(|earlier| earlier == pair))
            },
        ),
        ("logit bias", |o| o.logit_bias(EXCLUDED, f32::NEG_INFINITY), |_, found, _| !found.ids.contains(&EXCLUDED)),
        ("ban", |o| sampler(o, "ban", "e"), |_, found, _| !found.text.contains('e')),
        (
            "min tokens",
            |o| o.min_tokens(12),
            |_, found, _| found.ids.len() >= 12 || !matches!(found.finish, Some(Finish::EndOfText { .. })),
        ),
        (
            "speculation",
            |o| o.speculate(Speculation::with(Guesses::new(1))),
            |o, found, run| {
                let mut plain = o.clone();
                plain.speculate = None;
                let drafted = found.drafts.drafted > 0 || found.ids.len() < 3;
                drafted
                    && run(&plain).is_ok_and(|plain| (plain.ids, plain.text) == (found.ids.clone(), found.text.clone()))
            },
        ),
        ("surprise", |o| o.surprise(true), |_, found, _| found.surprise.is_some() || found.ids.is_empty()),
        (
            "logprobs",
            |o| o.logprobs(2),
            |_, found, _| found.tokens.iter().all(|token| token.likelihood.is_some() && token.likeliest.len() == 2),
        ),
        (
            "cancel",
            |o| {
                let cancel = Cancel::default();
                cancel.cancel();
                o.cancel(cancel)
            },
            |_, found, _| found.ids.is_empty() && found.finish == Some(Finish::Cancelled),
        ),
        ("replay", |o| o.replay(vec![LETTER]), |o, found, _| (found.ids.len() as u64) < o.max_tokens),
        ("a reasoning budget", |o| o.reasoning_budget(3), |_, _, _| false),
    ];
    all.into_iter().map(|(name, set, holds)| Opt { name, set, holds }).collect()
}

fn plain(options: &Generation) -> Result<Outcome> {
    let mut generator = Generator::start(model(), prompt(), tiny::CONTEXT, DType::F32, options)?;
    let mut found = Outcome::default();
    while let Some(piece) = block_on(generator.step())? {
        found.text.push_str(&piece.text);
        found.tokens.extend(piece.token);
    }
    found.ids = found.tokens.iter().map(|token| token.id).collect();
    (found.finish, found.surprise) = (generator.finish().cloned(), generator.surprise_bits());
    Ok(Outcome { drafts: generator.drafts(), ..found })
}

fn guided(options: &Generation) -> Result<Outcome> {
    let mut guided = Guided::new(begun(&model(), &prompt(), 2, 100), &[], 1.5, options)?;
    let mut found = Outcome::default();
    while let Some(piece) = block_on(guided.step())? {
        found.text.push_str(&piece.text);
        found.tokens.extend(piece.token);
    }
    found.ids = found.tokens.iter().map(|token| token.id).collect();
    Ok(Outcome { finish: guided.finish().cloned(), surprise: guided.surprise_bits(), ..found })
}

fn beams(options: &Generation) -> Result<Outcome> {
    let (found, _) =
        block_on(beam_search(begun(&model(), &prompt(), 6, 100), options, &BeamSearch::default().beams(3)))?;
    assert!(!found.is_empty());
    Ok(Outcome {
        ids: shown(&found[0].ids, &found[0].finish),
        text: found[0].text.clone(),
        finish: Some(found[0].finish.clone()),
        ..Outcome::default()
    })
}

fn contrasted(options: &Generation) -> Result<Outcome> {
    let (found, _) =
        block_on(contrastive_search(begun(&model(), &prompt(), 6, 100), options, &ContrastiveSearch::default()))?;
    Ok(Outcome {
        ids: shown(&found.ids, &found.finish),
        text: found.text,
        finish: Some(found.finish),
        ..Outcome::default()
    })
}

fn drawn(options: &Generation) -> Result<Outcome> {
    let found = block_on(draw(begun(&model(), &prompt(), 4, 100), options, 3))?.0.swap_remove(1);
    Ok(Outcome {
        ids: shown(&found.ids, &found.finish),
        text: found.text,
        finish: Some(found.finish),
        ..Outcome::default()
    })
}

fn cautiously(options: &Generation) -> Result<Outcome> {
    let settings = Cautious::default().trials(3).longest(6);
    let found = block_on(cautious(begun(&model(), &prompt(), 5, 100), options, &settings))?.draw;
    Ok(Outcome {
        ids: shown(&found.ids, &found.finish),
        text: found.text,
        finish: Some(found.finish),
        ..Outcome::default()
    })
}

/// Without the token that ended a text, which pieces do not have either.
fn shown(ids: &[u32], finish: &Finish) -> Vec<u32> {
    match finish {
        Finish::EndOfText { .. } => ids[..ids.len() - 1].to_vec(),
        _ => ids.to_vec(),
    }
}

/// Generates, and holds each option against the result. Returns the error if the options are refused.
fn check(
    way: &str,
    run: fn(&Generation) -> Result<Outcome>,
    base: &Generation,
    opts: &[&Opt],
    ignored: &mut Vec<String>,
) -> Option<String> {
    let names: Vec<&str> = opts.iter().map(|opt| opt.name).collect();
    let options = opts.iter().fold(base.clone(), |options, opt| (opt.set)(options));
    let found = match run(&options) {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    for opt in opts.iter().filter(|opt| !(opt.holds)(&options, &found, &run)) {
        ignored.push(format!("{way}, {names:?}: {} is ignored: {:?} {:?}", opt.name, found.text, found.finish));
    }
    None
}

#[test]
fn options_of_a_generation_hold_in_all_pairs() {
    let (all, base, mut ignored) = (options(), Generation::new().temperature(1.0).seed(3).max_tokens(20), Vec::new());
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            let refused = check("a generation", plain, &base, &[one, other], &mut ignored);
            let expected = one.name == "a reasoning budget" || other.name == "a reasoning budget";
            let told = refused.clone().unwrap_or_default();
            assert_eq!(refused.is_some(), expected, "{} and {}: {told}", one.name, other.name);
            assert!(!expected || told.contains("conversation") && told.contains("a reasoning budget"), "{told}");
        }
    }
    assert!(ignored.is_empty(), "{ignored:#?}");
}

#[test]
fn options_hold_in_every_search_or_are_refused_by_name() {
    let draws = ["temperature", "top-k", "top-p", "min-p", "top-n-sigma", "mirostat"];
    let told = ["surprise", "logprobs"];
    let rest = ["speculation", "replay", "a reasoning budget"];
    let greedy = Generation::new().max_tokens(20);
    let random = greedy.clone().temperature(1.0).seed(3);
    type Way<'a> = (&'a str, fn(&Generation) -> Result<Outcome>, &'a Generation, Vec<&'a [&'a str]>);
    let ways: [Way<'_>; 5] = [
        ("a beam search", beams, &greedy, vec![&draws, &told, &rest]),
        ("a contrastive search", contrasted, &greedy, vec![&draws, &told, &rest]),
        ("guidance", guided, &random, vec![&rest]),
        ("drawing answers side by side", drawn, &random, vec![&told, &rest]),
        ("cautious decoding", cautiously, &random, vec![&told, &rest]),
    ];
    let (all, mut ignored) = (options(), Vec::new());
    // Options that exclude or end texts are tried in pairs, too.
    let pairs = ["max tokens", "stop strings", "a constraint", "n-grams", "logit bias", "ban", "min tokens"];
    for (way, run, base, refused) in ways {
        for (at, one) in all.iter().enumerate() {
            let error = check(way, run, base, &[one], &mut ignored);
            let told = error.clone().unwrap_or_default();
            let expected = refused.iter().any(|names| names.contains(&one.name));
            assert_eq!(error.is_some(), expected, "{way} with {}: {told}", one.name);
            assert!(!expected || told.contains(way) && told.contains(one.name), "{way} with {}: {told}", one.name);
            for other in all[at + 1..].iter().filter(|other| [one.name, other.name].iter().all(|n| pairs.contains(n))) {
                let error = check(way, run, base, &[one, other], &mut ignored);
                assert_eq!(error, None, "{way}, {} and {}", one.name, other.name);
            }
        }
    }
    assert!(ignored.is_empty(), "{ignored:#?}");
}

#[test]
fn one_beam_under_a_constraint_is_greedy() {
    for pattern in ["[a-z ]{10,30}", "(yes|no), the thing is [a-c]{3}"] {
        let constraint = Constraint::regex(pattern).expect("a pattern");
        let options = Generation::new().max_tokens(40).constraint(constraint);
        let expected = plain(&options).expect("it runs");
        let text = begun(&model(), &prompt(), 2, 100);
        let one = BeamSearch::default().beams(1);
        let found = block_on(beam_search(text, &options, &one)).expect("it runs").0.remove(0);
        assert_eq!((shown(&found.ids, &found.finish), &found.text), (expected.ids, &expected.text));
        assert_eq!(Some(found.finish), expected.finish);
        let text = begun(&model(), &prompt(), 3, 100);
        let alone = ContrastiveSearch::default().top_k(1).alpha(0.6);
        let found = block_on(contrastive_search(text, &options, &alone)).expect("it runs").0;
        assert_eq!(found.text, expected.text);
        // Draws are those of generations of their own.
        let random = options.temperature(1.0).seed(8);
        let (draws, _) = block_on(draw(begun(&model(), &prompt(), 5, 100), &random, 4)).expect("it runs");
        for (sequence, found) in (0..).zip(draws) {
            let own = plain(&random.clone().sequence(sequence)).expect("it runs");
            assert_eq!((shown(&found.ids, &found.finish), found.text), (own.ids, own.text));
        }
    }
}

/// Tokens that spell the mark and go on with what the constraint refuses are no continuations of a beam.
#[test]
fn beams_leave_out_tokens_that_break_a_constraint_behind_its_mark() {
    for mark in 'a'..='z' {
        let constraint = Constraint::regex("[0-9]{3}").expect("a pattern").after(mark);
        let found = beams(&Generation::new().max_tokens(40).constraint(constraint)).expect("it runs");
        let behind = found.text.split_once(mark).map_or("", |(_, behind)| behind);
        assert!(behind.chars().all(|c| c.is_ascii_digit()), "{mark}: {}", found.text);
    }
}
