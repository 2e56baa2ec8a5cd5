//! Searches against transformers, and against their definitions.

use super::golden_folder::golden_folder;
use super::{load_on, model, prompt, tiny};
use foveate_core::Any;
use foveate_core::generate::{
    BeamSearch, ContrastiveSearch, EarlyStopping, Generation, Generator, Guided, Hypothesis, Prompt, beam_search,
    contrastive_search, echo,
};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::{Family, Files, Model};
use foveate_core::sample::Samplers;
use foveate_core::session::{Buffered, Session};
use foveate_core::weights::{Checkpoint, Memory};
use pollster::block_on;
use serde_json::Value;
use std::sync::Arc;

/// Texts that transformers 5.24 gives for golden models in float64: `num_beams` with its settings, and `guidance_scale`.
fn expected(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../data/searches.json")).expect("JSON");
    all[kind].as_array().expect("a list").clone()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// A golden model whose texts end with these tokens, or `None` where this machine has not got it.
fn family(name: &str, ends: Vec<u32>) -> Option<Arc<Model<Any>>> {
    let folder = golden_folder(&format!("families/{name}"))?;
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a file of the folder");
    let weights: Box<Memory> = Box::new(Memory::new("model.safetensors", read("model.safetensors")));
    let weights = block_on(Checkpoint::safetensors(vec![weights])).expect("weights");
    let mut family = Family::from_json(&read("config.json")).expect("a family");
    family.config.stops = ends;
    let files = Files { weights, family, tokenizer: None, template: None };
    let backend = Any::Host(HostBackend::exact_cpu(1));
    Some(Arc::new(block_on(Model::load(backend, files, &mut |_| Ok(()))).expect("it loads")))
}

/// A prompt with room for `more` tokens behind it, in each of `sequences` sequences.
fn begun(model: &Arc<Model<Any>>, prompt: &[u32], sequences: u32, more: u32) -> Buffered<Any> {
    super::begun(model, prompt, sequences, prompt.len() as u32 + more)
}

#[test]
fn beam_search_gives_the_texts_of_transformers() {
    for case in expected("beams") {
        let number = |key: &str| case[key].as_f64().expect("a number");
        let name = case["family"].as_str().expect("a family");
        let Some(model) = family(name, ids(&case["ends"])) else { return };
        let prompt = ids(&case["prompt"]);
        let beams = number("beams") as usize;
        let early_stopping = match case["early_stopping"].as_str().expect("a word") {
            "true" => EarlyStopping::Yes,
            "never" => EarlyStopping::Never,
            _ => EarlyStopping::No,
        };
        let search =
            BeamSearch::default().beams(beams).length_penalty(number("length_penalty")).early_stopping(early_stopping);
        let samplers = Samplers::default().no_repeat_ngram(number("no_repeat_ngram") as u32);
        let options = Generation::new()
            .max_tokens(number("max_tokens") as u64)
            .repetition_penalty(number("repetition_penalty") as f32)
            .samplers(samplers);
        let text = begun(&model, &prompt, 2 * beams as u32, 20);
        let (found, cost) = block_on(beam_search(text, &options, &search)).expect("it runs");
        let want = case["answers"].as_array().expect("answers");
        let all: Vec<Vec<u32>> = want.iter().map(|answer| ids(&answer["ids"])).collect();
        let got: Vec<Vec<u32>> = found.iter().map(|answer| answer.ids.clone()).collect();
        assert_eq!(got, all, "{name} {search:?}");
        for (found, want) in found.iter().zip(want) {
            // A single beam has no score there.
            let Some(score) = want["score"].as_f64() else { continue };
            assert!((found.score - score).abs() < 1e-4 * score.abs().max(1.0), "{name} {search:?}: {found:?}");
        }
        assert!(cost.steps <= 14 && cost.tokens <= 14 * beams as u64, "{cost:?}");
    }
}

#[test]
fn guidance_gives_the_tokens_of_transformers() {
    for case in expected("guidance") {
        let name = case["family"].as_str().expect("a family");
        let Some(model) = family(name, Vec::new()) else { return };
        let prompt = ids(&case["prompt"]);
        let (negative, scale) = (ids(&case["negative"]), case["scale"].as_f64().expect("a scale") as f32);
        let options = Generation::new().max_tokens(12);
        let mut guided = Guided::new(begun(&model, &prompt, 2, 20), &negative, scale, &options).expect("it begins");
        let mut tokens = Vec::new();
        while let Some(piece) = block_on(guided.step()).expect("it runs") {
            tokens.extend(piece.token.map(|token| token.id));
        }
        assert_eq!(tokens, ids(&case["ids"]), "{name}, scale {scale}, negative {negative:?}");
        assert_eq!(guided.cost().steps, 12);
    }
}

fn greedy(options: &Generation) -> (Vec<u32>, String) {
    let generator = Generator::start(model(), prompt(), tiny::CONTEXT, DType::F32, options).expect("it begins");
    let pieces: Vec<_> = generator.collect::<Result<_, _>>().expect("it runs");
    let ids = pieces.iter().filter_map(|piece| piece.token.as_ref()).map(|token| token.id).collect();
    (ids, pieces.iter().map(|piece| piece.text.as_str()).collect())
}

fn beams(options: &Generation, search: BeamSearch) -> Vec<Hypothesis> {
    let text = begun(&model(), &prompt(), 2 * search.beams as u32, 40);
    block_on(beam_search(text, options, &search)).expect("it runs").0
}

#[test]
fn one_beam_is_greedy_and_scores_can_be_recomputed() {
    let options = Generation::new().max_tokens(20).ignore_eos(true);
    let one = beams(&options, BeamSearch::default().beams(1));
    let (ids, text) = greedy(&options);
    assert_eq!((&one[0].ids, &one[0].text), (&ids, &text));
    for found in beams(&options, BeamSearch::default().beams(4).length_penalty(0.7)) {
        let all = [prompt(), found.ids.clone()].concat();
        let mut session = Session::new(model(), all.len() as u32).expect("a session");
        let scores = block_on(session.likelihoods(&all)).expect("it runs");
        let sum: f64 = scores[scores.len() - found.ids.len()..].iter().map(|score| score.logprob).sum();
        let score = sum / (found.ids.len() as f64).powf(0.7);
        assert!((found.score - score).abs() < 1e-3, "{found:?} instead of {score}");
    }
}

#[test]
fn as_many_beams_as_tokens_search_all_pairs() {
    let options = Generation::new().max_tokens(2).ignore_eos(true);
    let vocab = model().config().vocab as usize;
    let search = BeamSearch::default().beams(vocab).length_penalty(0.0);
    let found = beams(&options, search);
    // Every pair, written out.
    let row = |tokens: &[u32]| {
        let mut session = Session::new(model(), 64).expect("a session");
        let mut rows = Vec::new();
        block_on(session.logits(tokens, |more| rows.extend_from_slice(more))).expect("it runs");
        let last: Vec<f64> = rows[rows.len() - vocab..].iter().map(|z| f64::from(*z)).collect();
        let max = last.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = last.iter().map(|z| (z - max).exp()).sum();
        last.iter().map(|z| z - max - sum.ln()).collect::<Vec<_>>()
    };
    let mut pairs = Vec::new();
    for (first, p) in (0u32..).zip(row(&prompt())) {
        for (second, q) in (0u32..).zip(row(&[prompt(), vec![first]].concat())) {
            pairs.push((p + q, [first, second]));
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (found, (score, pair)) in found.iter().zip(&pairs).take(20) {
        assert!((found.score - score).abs() < 1e-3, "{found:?} instead of {pair:?} with {score}");
    }
    assert_eq!(found[0].ids, pairs[0].1);
}

#[test]
fn contrastive_search_follows_its_definition() {
    let options = Generation::new().max_tokens(12).ignore_eos(true);
    let search = |top_k, alpha| {
        let text = begun(&model(), &prompt(), top_k as u32 + 1, 40);
        block_on(contrastive_search(text, &options, &ContrastiveSearch::default().top_k(top_k).alpha(alpha)))
            .expect("it runs")
    };
    assert_eq!(search(1, 0.6).0.ids, greedy(&options).0);
    assert_eq!(search(5, 0.0).0.ids, greedy(&options).0);
    let (found, cost) = search(4, 0.6);
    assert_ne!(found.ids, greedy(&options).0);
    assert_eq!(cost.tokens, 4 * 12);
    // Without a cache, in f64: each candidate is read behind everything before it.
    let dim = model().config().dim as usize;
    let states = |tokens: &[u32]| {
        let mut session = Session::new(model(), 64).expect("a session");
        block_on(session.states_and_logits(tokens)).expect("it runs")
    };
    let mut tokens = prompt();
    for chosen in &found.ids {
        let (_, row) = states(&tokens);
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = row.iter().map(|z| f64::from(z - max).exp()).sum();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
        let score = |id: usize| {
            let (hidden, _) = states(&[&tokens[..], &[id as u32]].concat());
            let (known, own) = hidden.split_at(hidden.len() - dim);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let near = known.chunks(dim).map(|h| dot(h, own) / (dot(h, h) * dot(own, own)).sqrt()).fold(-1.0, f64::max);
            0.4 * f64::from(row[id] - max).exp() / sum - 0.6 * near
        };
        let scores: Vec<f64> = order[..4].iter().map(|id| score(*id)).collect();
        let best = (0..4).fold(0, |best, at| if scores[at] > scores[best] + 1e-6 { at } else { best });
        assert_eq!(*chosen, order[best] as u32, "{scores:?}");
        tokens.push(*chosen);
    }
}

#[test]
fn guidance_of_1_is_plain_and_draws_alike() {
    for options in [Generation::new().max_tokens(20), super::drawn().max_tokens(20)] {
        let options = options.ignore_eos(true);
        let negative = Prompt::from("and").ids(&model()).expect("a tokenizer");
        let mut guided = Guided::new(begun(&model(), &prompt(), 2, 40), &negative, 1.0, &options).expect("it begins");
        assert_eq!(block_on(guided.text()).expect("it runs"), greedy(&options).1);
        assert_eq!(guided.usage().generated_tokens, 20);
    }
}

#[test]
fn searches_refuse_what_they_do_not_combine_with() {
    let refused = |options: &Generation, search: BeamSearch| {
        let text = begun(&model(), &prompt(), 4, 20);
        block_on(beam_search(text, options, &search)).expect_err("it was taken").to_string()
    };
    let plain = BeamSearch::default();
    assert!(refused(&Generation::new().temperature(1.0), plain).contains("temperature"));
    assert_eq!(refused(&Generation::new(), plain.beams(0)), "num-beams must be 1 or more, got 0");
    let text = begun(&model(), &prompt(), 4, 20);
    let alpha = ContrastiveSearch::default().alpha(1.5);
    let error = block_on(contrastive_search(text, &Generation::new(), &alpha)).expect_err("it was taken");
    assert!(error.to_string().contains("alpha"), "{error}");
}

#[test]
fn echo_tells_of_every_token_of_a_prompt() {
    // Both read the prompt in pieces of different lengths: other products of a processor round by these.
    let (model, prompt) = (load_on(HostBackend::exact_cpu(1)), prompt());
    let tokens = block_on(echo(&mut Session::new(model.clone(), 64).expect("a session"), &prompt, 3)).expect("it runs");
    let scores = block_on(Session::new(model.clone(), 64).expect("a session").likelihoods(&prompt)).expect("it runs");
    assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), prompt);
    assert!(tokens[0].likelihood.is_none() && tokens[0].likeliest.is_empty());
    assert_eq!(tokens[1..].iter().filter_map(|token| token.likelihood).collect::<Vec<_>>(), scores);
    assert!(tokens[1..].iter().all(|token| token.likeliest.len() == 3));
    let one =
        block_on(echo(&mut Session::new(model.clone(), 64).expect("a session"), &prompt[..1], 3)).expect("it runs");
    assert_eq!(one.len(), 1);
}
