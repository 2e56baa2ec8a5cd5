//! The settings of a generation, from a request's fields.

use super::error::{Failure, Result};
use super::fields::{Fields, Unsupported};
use foveate_core::constrain::Constraint;
use foveate_core::generate::Generation;
use foveate_core::sample::Samplers;
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What a request asks for besides its prompt.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: Generation,
    /// Answers to each prompt that the client gets.
    pub(super) choices: usize,
    /// Answers to each prompt that are generated; the likeliest of them become the choices.
    pub(super) candidates: usize,
    /// Number of likeliest tokens beside each token; `None` gives no log-probabilities.
    pub(super) logprobs: Option<usize>,
    pub(super) stream: bool,
    /// `stream_options.include_usage`: the stream's last chunk counts the tokens.
    pub(super) usage: bool,
}

/// Stop strings at most, and their bytes.
const STOPS: usize = 16;
const STOP_BYTES: usize = 1024;

/// Tokens whose logits a request shifts at most.
const BIASES: usize = 1024;

/// Lower temperatures take the likeliest token: logits divided by them would not be finite.
const GREEDY: f64 = 1e-5;

/// Fields that change results and are refused, each with the values that are accepted because they change nothing.
pub(super) const UNSUPPORTED: Unsupported = &[
    ("parallel_tool_calls", &["true"]),
    ("verbosity", &["\"medium\""]),
    ("functions", &["[]"]),
    ("function_call", &["\"none\"", "\"auto\""]),
    ("modalities", &["[\"text\"]"]),
    ("audio", &[]),
    ("web_search_options", &[]),
    ("suffix", &["\"\""]),
    ("moderation", &[]),
    // Fields that vLLM adds to OpenAI's interface.
    ("use_beam_search", &["false"]),
    ("stop_token_ids", &["[]"]),
    ("bad_words", &["[]"]),
    ("include_stop_str_in_output", &["false"]),
    ("skip_special_tokens", &["true"]),
    ("spaces_between_special_tokens", &["true"]),
];

/// As [`UNSUPPORTED`], of requests whose prompt a template writes.
pub(super) const OF_TEMPLATES: Unsupported =
    &[("add_generation_prompt", &["true"]), ("continue_final_message", &["false"])];

/// Returns a random number, from the operating system's seed.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Settings {
    /// Reads what chats and completions have in common. `tokens` is the maximum of tokens where none is asked for, `vocab` the
    /// number of ids.
    pub(super) fn read(fields: &Fields, tokens: u64, most_choices: u64, vocab: u32) -> Result<Self> {
        let stop = fields.strings("stop", STOPS)?;
        if stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES) {
            return Err(Failure::field("stop", format!("stop strings must have 1 to {STOP_BYTES} bytes")));
        }
        let most = fields.integer("max_completion_tokens", 0, u64::from(u32::MAX))?;
        let most = most.or(fields.integer("max_tokens", 0, u64::from(u32::MAX))?).unwrap_or(tokens);
        let temperature = fields.number("temperature", 0.0, 2.0)?.unwrap_or(1.0);
        let temperature = if temperature < GREEDY { 0.0 } else { temperature };
        let stream = fields.boolean("stream")?;
        let usage = match fields.object("stream_options")? {
            Some(_) if !stream => {
                return Err(Failure::field("stream_options", "stream_options is for streams: set stream"));
            }
            Some(options) => options.get("include_usage").and_then(|value| value.as_bool()).unwrap_or(false),
            None => false,
        };
        let options = Generation::new()
            .max_tokens(most)
            .stop(stop)
            .ignore_eos(fields.boolean("ignore_eos")?)
            .temperature(temperature as f32)
            .top_p(fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0) as f32)
            .top_k(fields.integer("top_k", 0, u64::from(u32::MAX))?.unwrap_or(0) as u32)
            .min_p(fields.number("min_p", 0.0, 1.0)?.unwrap_or(0.0) as f32)
            .repetition_penalty(fields.number("repetition_penalty", 0.01, 100.0)?.unwrap_or(1.0) as f32)
            .samplers(samplers(fields, vocab)?)
            .seed(seed(fields)?);
        let options = match constraint(fields)? {
            Some(constraint) => options.constraint(constraint),
            None => options,
        };
        let choices = fields.integer("n", 1, most_choices)?.unwrap_or(1) as usize;
        Ok(Self { options, choices, candidates: choices, logprobs: None, stream, usage })
    }

    /// Sets the number of likeliest tokens beside each token; `None` gives no log-probabilities.
    pub(super) fn with_logprobs(self, logprobs: Option<usize>) -> Self {
        let options = match logprobs {
            Some(likeliest) => self.options.logprobs(likeliest),
            None => self.options,
        };
        Self { options, logprobs, ..self }
    }

    /// Makes more answers to each prompt than are given, if `best_of` asks for it.
    pub(super) fn with_best_of(self, fields: &Fields, most: u64) -> Result<Self> {
        let Some(candidates) = fields.integer("best_of", 1, most)? else { return Ok(self) };
        let candidates = candidates as usize;
        if candidates < self.choices {
            return Err(Failure::field("best_of", format!("best_of must be at least n, which is {}", self.choices)));
        }
        if self.stream && candidates > self.choices {
            return Err(Failure::field("best_of", "best_of chooses among whole answers: leave stream out"));
        }
        // Choosing the likeliest answers needs the probabilities, even if the client does not get them.
        let options =
            if candidates > self.choices && self.logprobs.is_none() { self.options.logprobs(0) } else { self.options };
        Ok(Self { options, candidates, ..self })
    }

    /// Upper bound of the tokens whose log-probabilities the answers to `prompts` prompts give.
    pub(super) fn told(&self, prompts: usize) -> u64 {
        let answers = (prompts * self.choices) as u64;
        if self.logprobs.is_some() { answers.saturating_mul(self.options.max_tokens) } else { 0 }
    }

    /// Returns whether the request limits which tokens may follow. Beside log-probabilities, that reveals the logit of any
    /// token.
    pub(super) fn steers(&self) -> bool {
        !self.options.samplers.logit_bias.is_empty() || self.options.constraint.is_some()
    }

    /// The settings of one of the choices, each of which has draws of its own.
    pub(super) fn choice(&self, index: usize) -> Generation {
        self.options.clone().sequence(index as u64)
    }
}

/// Penalties, biases, and the fewest tokens.
fn samplers(fields: &Fields, vocab: u32) -> Result<Samplers> {
    let penalty = |name| Ok::<_, Failure>(fields.number(name, -2.0, 2.0)?.unwrap_or(0.0) as f32);
    let mut samplers = Samplers::default()
        .frequency_penalty(penalty("frequency_penalty")?)
        .presence_penalty(penalty("presence_penalty")?)
        .min_tokens(fields.integer("min_tokens", 0, u64::from(u32::MAX))?.unwrap_or(0));
    let wrong = || {
        let most = format!("at most {BIASES} ids, as strings, to numbers from -100 to 100");
        Failure::field("logit_bias", format!("logit_bias must map {most}; ids are below {vocab}"))
    };
    let biases = fields.object("logit_bias")?;
    if biases.is_some_and(|biases| biases.len() > BIASES) {
        return Err(wrong());
    }
    for (id, bias) in biases.into_iter().flatten() {
        let id = id.parse().ok().filter(|id| *id < vocab).ok_or_else(wrong)?;
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)).ok_or_else(wrong)?;
        samplers.logit_bias.push((id, bias as f32));
    }
    Ok(samplers)
}

/// Reads the form that an answer must have: OpenAI's `response_format`, or `guided_json`, `guided_regex` or `grammar`, as
/// other servers call them.
fn constraint(fields: &Fields) -> Result<Option<Constraint>> {
    const NAMES: [&str; 4] = ["response_format", "guided_json", "guided_regex", "grammar"];
    let mut found = None;
    for name in NAMES {
        let made = match (name, fields.get(name)) {
            (_, None) => continue,
            ("response_format", Some(_)) => response_format(fields)?,
            ("guided_json", Some(schema)) => Some(Constraint::json_schema(schema.clone())),
            ("guided_regex", Some(_)) => fields.string(name)?.map(Constraint::regex),
            (_, Some(_)) => fields.string(name)?.filter(|text| !text.is_empty()).map(Constraint::grammar),
        };
        let Some(made) = made else { continue };
        let made = made.map_err(|error| Failure::field(name, format!("{name}: {error}")))?;
        if found.replace(made).is_some() {
            return Err(Failure::field(name, format!("{} exclude each other: give one", NAMES.join(", "))));
        }
    }
    Ok(found)
}

fn response_format(fields: &Fields) -> Result<Option<foveate_core::Result<Constraint>>> {
    const NAME: &str = "response_format";
    let Some(format) = fields.object(NAME)? else { return Ok(None) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Ok(Constraint::json()))),
        Some("json_schema") => match format.get("json_schema").and_then(|named| named.get("schema")) {
            Some(schema) => Ok(Some(Constraint::json_schema(schema.clone()))),
            None => Err(Failure::field(NAME, "response_format of type json_schema must have json_schema.schema")),
        },
        _ => Err(Failure::field(NAME, "response_format must have the type text, json_object or json_schema")),
    }
}

/// Any integer is a seed; without one, every request draws anew.
fn seed(fields: &Fields) -> Result<u64> {
    let Some(value) = fields.get("seed") else { return Ok(random()) };
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    seed.ok_or_else(|| Failure::field("seed", "seed must be an integer of 64 bits"))
}
