//! `foveate generate` with several continuations at a time: beams, contrastive search, guidance, and trials.

use super::interrupt::Answering;
use super::{SamplingArguments, print};
use clap::{Args, ValueEnum};
use foveate::generate::trial::{
    self, Cautious, Draw, TextProbability, Weights, best, cautious, consensus, draw, last_number,
};
use foveate::generate::{
    BeamSearch, ContrastiveSearch, Cost, EarlyStopping, Guided, Hypothesis, beam_search, contrastive_search,
};
use foveate::session::{Buffered, Session};
use foveate::{Any, Error, Finish, Generation, Result, Token, wait};
use serde_json::{Value, json};
use std::io::IsTerminal;

/// Several continuations are followed at a time. They share the pages of the prompt.
#[derive(Args)]
#[command(next_help_heading = "Searches and trials")]
pub(super) struct SearchArguments {
    /// Follow the N likeliest texts at a time (beam search), and take the best one; --n gives several.
    #[arg(long, value_name = "N", group = "search", value_parser = super::line::count::<u64>(1..=256))]
    num_beams: Option<u64>,
    /// The exponent of the length that a beam's score is divided by: above 0 favours long texts, 0 compares sums.
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "num_beams")]
    length_penalty: f64,
    /// End a beam search once as many texts as beams are finished: true at once, false when no running beam looks better,
    /// never when none can become better.
    #[arg(long, value_name = "WHEN", default_value = "false", requires = "num_beams")]
    early_stopping: Early,
    /// Contrastive search: of the --top-k likeliest tokens (4 unless given), take the one least like what was read before,
    /// with this weight, 0 to 1.
    #[arg(long, value_name = "X", group = "search")]
    penalty_alpha: Option<f64>,
    /// Classifier-free guidance: push the answer by this factor away from what follows the negative prompt; 1 is off.
    #[arg(long, value_name = "X", group = "search")]
    guidance: Option<f32>,
    /// The prompt to push away from [default: the last token of the prompt].
    #[arg(long, value_name = "TEXT", requires = "guidance")]
    negative_prompt: Option<String>,
    /// Draw N answers and give the --n of the highest mean log-probability.
    #[arg(long, value_name = "N", group = "search", value_parser = super::line::count::<u64>(1..=256))]
    best_of: Option<u64>,
    /// Where the model is unsure, draw up to N ways to the next punctuation mark and keep the least surprising.
    #[arg(long, value_name = "N", group = "search", value_parser = super::line::count::<u64>(1..=256))]
    cautious: Option<u64>,
    /// Draw N answers and give one with the result that they agree on.
    #[arg(long, value_name = "N", group = "search", value_parser = super::line::count::<u64>(1..=256))]
    consensus: Option<u64>,
    /// The weight of an answer: one vote (count), its probability, or its probability without the answers that are pruned as
    /// improbable.
    #[arg(long, value_name = "WEIGHTS", default_value = "count", requires = "consensus")]
    weights: WeightsName,
    /// The result of an answer that --consensus compares.
    #[arg(long, value_name = "PART", default_value = "last-number", requires = "consensus")]
    result: Part,
    /// A candidate text in front of the prompt; the candidate that gives the prompt the lowest perplexity is used.
    /// Repeatable.
    #[arg(long, value_name = "TEXT")]
    try_prompt: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Early {
    True,
    False,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum WeightsName {
    Count,
    Probability,
    Pruned,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Part {
    LastNumber,
    LastLine,
    Text,
}

impl Part {
    fn of(self, text: &str) -> Option<String> {
        match self {
            Part::LastNumber => last_number(text),
            Part::LastLine => text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned),
            Part::Text => Some(text.trim().to_owned()),
        }
    }
}

/// A way to generate other than token by token.
pub(super) enum Method {
    Beams(BeamSearch),
    Contrastive(ContrastiveSearch),
    Guided(f32, Option<String>),
    Best(u64),
    Cautious(Cautious),
    Consensus(u64, Weights, Part),
}

impl SearchArguments {
    /// The method that was asked for, if one was, with `n` answers.
    pub(super) fn method(&self, n: u64, sampling: &SamplingArguments) -> Result<Option<Method>> {
        let method = if let Some(beams) = self.num_beams {
            let early_stopping = match self.early_stopping {
                Early::True => EarlyStopping::Yes,
                Early::False => EarlyStopping::No,
                Early::Never => EarlyStopping::Never,
            };
            let search = BeamSearch::default().beams(beams as usize).length_penalty(self.length_penalty);
            search.validate()?;
            Method::Beams(search.early_stopping(early_stopping))
        } else if let Some(alpha) = self.penalty_alpha {
            let top_k = sampling.top_k().map_or(ContrastiveSearch::default().top_k, |k| k as usize);
            let search = ContrastiveSearch::default().top_k(top_k).alpha(alpha);
            search.validate()?;
            Method::Contrastive(search)
        } else if let Some(scale) = self.guidance {
            if !scale.is_finite() {
                return Err(Error::Usage { reason: format!("--guidance must be a finite number, got {scale}") });
            }
            Method::Guided(scale, self.negative_prompt.clone())
        } else if let Some(draws) = self.best_of {
            Method::Best(draws)
        } else if let Some(trials) = self.cautious {
            Method::Cautious(Cautious::default().trials(trials as u32))
        } else if let Some(draws) = self.consensus {
            let weights = match self.weights {
                WeightsName::Count => Weights::Count,
                WeightsName::Probability => Weights::Probability,
                WeightsName::Pruned => Weights::Pruned,
            };
            Method::Consensus(draws, weights, self.result)
        } else {
            return Ok(None);
        };
        let most = match method {
            Method::Beams(search) => search.beams as u64,
            Method::Best(draws) => draws,
            _ => 1,
        };
        match (1..=most).contains(&n) {
            true => Ok(Some(method)),
            false => Err(Error::Usage { reason: format!("--n must be 1 to {most} with this search, got {n}") }),
        }
    }

    /// The texts that may stand in front of the prompt.
    pub(super) fn prompts(&self) -> &[String] {
        &self.try_prompt
    }
}

/// The answers of a method.
pub(super) struct Found {
    /// The best one first.
    pub(super) answers: Vec<Value>,
    /// The text of the first answer.
    pub(super) text: String,
    /// The tokens of the first answer with their probabilities, where the method reports them.
    pub(super) tokens: Vec<Token>,
    /// The end of the first answer.
    pub(super) finish: Finish,
    /// Further fields of the JSON object: the cost, and what the method reports.
    pub(super) more: Value,
}

impl Method {
    /// Most sequences that hold pages at a time.
    pub(super) fn sequences(&self) -> u64 {
        match self {
            Method::Beams(search) => 2 * search.beams as u64,
            Method::Contrastive(search) => search.top_k as u64 + 1,
            Method::Guided(..) => 2,
            Method::Best(draws) | Method::Consensus(draws, ..) => draws + 1,
            Method::Cautious(settings) => u64::from(settings.trials) + 1,
        }
    }

    /// Returns whether the method reports surprise and log-probabilities of each token.
    pub(super) fn reports(&self) -> bool {
        matches!(self, Method::Guided(..))
    }

    /// Tokens of the negative prompt; none without one.
    pub(super) fn negative(&self, encode: impl Fn(&str) -> Result<Vec<u32>>) -> Result<Vec<u32>> {
        match self {
            Method::Guided(_, Some(negative)) if !negative.is_empty() => encode(negative),
            _ => Ok(Vec::new()),
        }
    }

    /// Generates behind the tokens of `text`, and gives `n` answers.
    pub(super) fn run(
        &self,
        text: Buffered<Any>,
        negative: &[u32],
        options: &Generation,
        n: u64,
        streams: bool,
    ) -> Result<Found> {
        let _answering = Answering::begin(&options.cancel);
        match self {
            Method::Beams(search) => {
                let (found, cost) = wait(beam_search(text, options, search))?;
                hypotheses(&found[..found.len().min(n as usize)], cost)
            }
            Method::Contrastive(search) => {
                let (found, cost) = wait(contrastive_search(text, options, search))?;
                hypotheses(&[found], cost)
            }
            Method::Guided(scale, _) => guided(Guided::new(text, negative, *scale, options)?, streams),
            Method::Best(draws) => {
                let (mut drawn, cost) = wait(draw(text, options, *draws as usize))?;
                let mut ranked = Vec::new();
                while let Some(at) = best(&drawn).filter(|_| (ranked.len() as u64) < n) {
                    ranked.push(drawn.remove(at));
                }
                draws_found(&ranked, json!({"cost": cost_json(cost)}))
            }
            Method::Cautious(settings) => {
                let found = wait(cautious(text, options, settings))?;
                let trials = found.trials.iter().map(|trial| {
                    json!({"at": trial.at, "entropy": trial.entropy, "perplexities": trial.perplexities,
                        "chosen": trial.chosen})
                });
                let more = json!({"trials": trials.collect::<Vec<_>>(), "cost": cost_json(found.cost)});
                draws_found(&[found.draw], more)
            }
            Method::Consensus(draws, weights, part) => {
                let (drawn, cost) = wait(draw(text, options, *draws as usize))?;
                agreed(&drawn, *weights, *part, cost)
            }
        }
    }
}

fn cost_json(cost: Cost) -> Value {
    json!({"steps": cost.steps, "tokens": cost.tokens})
}

fn hypotheses(found: &[Hypothesis], cost: Cost) -> Result<Found> {
    let answers =
        found.iter().map(|h| json!({"ids": h.ids, "text": h.text, "stop": h.finish.name(), "score": h.score}));
    let first = found.first().ok_or(Error::Core(foveate::RuntimeError::EmptyPrompt))?;
    Ok(Found {
        answers: answers.collect(),
        text: first.text.clone(),
        tokens: Vec::new(),
        finish: first.finish.clone(),
        more: json!({"cost": cost_json(cost)}),
    })
}

fn draws_found(draws: &[Draw], more: Value) -> Result<Found> {
    let answers = draws.iter().map(|draw| {
        json!({"ids": draw.ids, "text": draw.text, "stop": draw.finish.name(), "mean_logprob": draw.mean_logprob()})
    });
    let first = draws.first().ok_or(Error::Core(foveate::RuntimeError::EmptyPrompt))?;
    Ok(Found {
        answers: answers.collect(),
        text: first.text.clone(),
        tokens: Vec::new(),
        finish: first.finish.clone(),
        more,
    })
}

/// The answers that have the result with the most weight, the likeliest one first; all answers if none has a result.
fn agreed(drawn: &[Draw], weights: Weights, part: Part, cost: Cost) -> Result<Found> {
    let agreement = consensus(drawn, |text| part.of(text), weights, TextProbability::Mean);
    let votes: Vec<Value> = agreement
        .votes
        .iter()
        .map(|vote| json!({"result": vote.answer, "weight": vote.weight, "answers": vote.texts}))
        .collect();
    let result = agreement.votes.first().map(|vote| vote.answer.clone());
    let gives = |draw: &Draw| result.is_none() || part.of(&draw.text) == result;
    let mut giving: Vec<Draw> = drawn.iter().filter(|draw| gives(draw)).cloned().collect();
    if let Some(chosen) = trial::best(&giving) {
        giving[..=chosen].rotate_right(1);
    }
    let more = json!({"result": result, "votes": votes, "counted": agreement.counted, "cost": cost_json(cost)});
    draws_found(&giving, more)
}

fn guided(mut guided: Guided<Any>, streams: bool) -> Result<Found> {
    let (mut ids, mut text, mut tokens) = (Vec::new(), String::new(), Vec::new());
    while let Some(piece) = wait(guided.step())? {
        ids.extend(piece.token.as_ref().map(|token| token.id));
        if streams {
            print(&piece.text)?;
        }
        text.push_str(&piece.text);
        tokens.extend(piece.token);
    }
    let finish = guided.finish().cloned().unwrap_or(Finish::MaxTokens);
    if let Finish::EndOfText { token } = finish {
        ids.push(token);
    }
    let answer = json!({"ids": ids, "text": text, "stop": finish.name(), "surprise_bits": guided.surprise_bits()});
    Ok(Found { answers: vec![answer], text, tokens, finish, more: json!({"cost": cost_json(guided.cost())}) })
}

impl Found {
    /// Prints the first answer, unless its pieces were printed as they came.
    pub(super) fn show(&self, streams: bool) -> Result<()> {
        print(&if streams { "\n".to_owned() } else { format!("{}\n", self.text) })?;
        if std::io::stderr().is_terminal() {
            let cost = &self.more["cost"];
            eprintln!("{} steps, {} tokens read; stop: {}", cost["steps"], cost["tokens"], self.finish.name());
        }
        Ok(())
    }
}

/// Puts that one of `prompts` in front of the input which gives the input the lowest perplexity. Returns the text, and a
/// report of all perplexities.
pub(super) fn prompted(session: &mut Session<Any>, prompts: &[String], input: &str) -> Result<(String, Value)> {
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let score = wait(trial::likeliest_prompt(session, &texts, input))?;
    let report = json!({"chosen": score.chosen, "perplexities": score.perplexities});
    Ok((format!("{}{input}", prompts[score.chosen]), report))
}
