//! Trial decoding against plain generation and against definitions.

use super::{drawn, model, prompt, tiny};
use foveate_core::Any;
use foveate_core::evaluate::continuation;
use foveate_core::generate::trial::{
    Cautious, Draw, TextProbability, Weights, best, cautious, consensus, draw, last_number, likeliest_prompt,
};
use foveate_core::generate::{Finish, Generation, Generator};
use foveate_core::kernels::dtype::DType;
use foveate_core::session::{Buffered, Session};
use pollster::block_on;

fn begun(sequences: u32) -> Buffered<Any> {
    super::begun(&model(), &prompt(), sequences, 128)
}

/// The same answer by a generation of its own.
fn plain(options: &Generation) -> Draw {
    let mut generator = Generator::start(model(), prompt(), tiny::CONTEXT, DType::F32, &options.clone().logprobs(0))
        .expect("it begins");
    let (mut ids, mut text, mut logprob) = (Vec::new(), String::new(), 0.0);
    while let Some(piece) = block_on(generator.step()).expect("it runs") {
        text.push_str(&piece.text);
        if let Some(token) = piece.token {
            ids.push(token.id);
            logprob += token.likelihood.expect("it was asked for").logprob;
        }
    }
    let finish = generator.finish().expect("it ended").clone();
    Draw { ids, text, logprob, finish }
}

#[track_caller]
fn same(a: &Draw, b: &Draw) {
    assert_eq!((&a.ids, &a.text, &a.finish), (&b.ids, &b.text, &b.finish));
    assert!((a.logprob - b.logprob).abs() < 1e-3, "{} and {}", a.logprob, b.logprob);
}

#[test]
fn draws_side_by_side_are_those_of_single_generations() {
    for options in [drawn().max_tokens(25), drawn().max_tokens(40).stop(["e", "zz"]), drawn().max_tokens(0)] {
        let (draws, cost) = block_on(draw(begun(6), &options, 5)).expect("it runs");
        for (sequence, found) in (0..).zip(&draws) {
            same(found, &plain(&options.clone().sequence(sequence)));
        }
        let longest = draws.iter().map(|draw| draw.ids.len() as u64).max().expect("draws");
        assert_eq!(cost.steps, longest, "steps are shared");
        let first = best(&draws).expect("draws");
        assert!(draws.iter().all(|draw| draw.mean_logprob() <= draws[first].mean_logprob()));
    }
    assert_eq!(best(&[]), None);
}

#[test]
fn draws_that_end_by_themselves_do_not_hold_up_the_others() {
    // All tokens that end a text are likely enough at this temperature.
    let options = Generation::new().temperature(3.0).seed(5).max_tokens(60);
    let (draws, _) = block_on(draw(begun(13), &options, 12)).expect("it runs");
    assert!(draws.iter().any(|draw| matches!(draw.finish, Finish::EndOfText { .. })));
    for (draw, text) in draws.iter().map(|draw| (draw, &draw.text)) {
        assert!(!text.contains("</s>"), "{text}");
        let end = matches!(draw.finish, Finish::EndOfText { .. });
        assert_eq!(end, draw.ids.last() == Some(&1));
    }
}

#[test]
fn one_trial_is_plain_decoding() {
    let options = drawn().max_tokens(30);
    let one = Cautious::default().trials(1);
    let found = block_on(cautious(begun(3), &options, &one)).expect("it runs");
    same(&found.draw, &plain(&options));
    assert!(found.trials.is_empty());
    // No entropy reaches the lower bound.
    let calm = Cautious::default().low(90.0).high(91.0);
    same(&block_on(cautious(begun(12), &options, &calm)).expect("it runs").draw, &plain(&options));
}

#[test]
fn cautious_decoding_keeps_the_least_surprising_trial() {
    let options = drawn().max_tokens(50);
    let settings = Cautious::default().trials(6).longest(9);
    let found = block_on(cautious(begun(8), &options, &settings)).expect("it runs");
    assert!(found.trials.len() > 2, "{:?}", found.trials);
    for trial in &found.trials {
        let chosen = trial.perplexities[trial.chosen];
        assert_eq!(trial.perplexities.len(), settings.trials_at(trial.entropy) as usize);
        assert!(trial.perplexities.iter().all(|perplexity| *perplexity >= chosen), "{trial:?}");
    }
    // The cache behind a choice is that of the text: the log-probabilities are those of one pass over all of it.
    let all = [prompt(), found.draw.ids.clone()].concat();
    let scores = block_on(Session::new(model(), 128).expect("a session").likelihoods(&all)).expect("it runs");
    let sum: f64 = scores[scores.len() - found.draw.ids.len()..].iter().map(|score| score.logprob).sum();
    assert!((sum - found.draw.logprob).abs() < 1e-2, "{sum} and {}", found.draw.logprob);
    assert_eq!(found.draw.ids.len(), 50);
    assert!(found.cost.tokens > 50 && found.cost.steps < found.cost.tokens);
    let refused = block_on(cautious(begun(8), &options, &settings.trials(0)));
    assert!(refused.expect_err("it was taken").to_string().contains("at least 1 trial"));
}

#[test]
fn consensus_of_draws_counts_results() {
    let draw =
        |text: &str, logprob: f64| Draw { ids: vec![1, 2], text: text.into(), logprob, finish: Finish::MaxTokens };
    let draws = [draw("it is 7", -0.2), draw("so 8", -3.0), draw("thus 8.0", -3.0), draw("who knows", -0.1)];
    let by = |weights| consensus(&draws, last_number, weights, TextProbability::Mean).votes[0].answer.clone();
    assert_eq!((by(Weights::Count), by(Weights::Probability)), ("8".into(), "7".into()));
    let product = consensus(&draws, last_number, Weights::Probability, TextProbability::Product);
    let (seven, eight) = ((-0.2f64).exp(), 2.0 * (-3.0f64).exp());
    assert!((product.votes[0].weight - seven / (seven + eight)).abs() < 1e-12);
    assert_eq!(product.counted, [true, true, true, false]);
}

#[test]
fn prompt_is_chosen_by_the_perplexity_of_the_input() {
    let mut session = Session::new(model(), 128).expect("a session");
    let (prompts, input) = (["the and ", "thing\n", "the and "], "then the end");
    let found = block_on(likeliest_prompt(&mut session, &prompts, input)).expect("it runs");
    for (prompt, perplexity) in prompts.iter().zip(&found.perplexities) {
        let mut fresh = Session::new(model(), 128).expect("a session");
        let one = block_on(continuation(&mut fresh, prompt, input)).expect("it runs");
        assert!((perplexity - (-one.sum / one.tokens as f64).exp()).abs() < 1e-3 * perplexity);
    }
    let least = found.perplexities.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(found.perplexities.iter().position(|p| *p == least), Some(found.chosen));
    assert!(block_on(likeliest_prompt(&mut session, &[], input)).is_err());
}
