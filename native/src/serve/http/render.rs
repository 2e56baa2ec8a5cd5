//! Answers as JSON: whole ones, and the chunks of streams.

use super::choices::Choices;
use super::clock::now;
use super::deltas::Deltas;
use super::error::Result;
use super::hosted::Loaded;
use super::settings::random;
use crate::serve::Event;
use foveate_core::generate::{Finish, Piece, Token, Usage};
use foveate_core::parts::Splitter;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Which of OpenAI's two interfaces asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Chat,
    Text,
}

/// The fields that all chunks of an answer have in common.
pub(super) struct Frame {
    shape: Shape,
    id: String,
    created: u64,
    loaded: Arc<Loaded>,
    logprobs: bool,
    splitter: Option<Splitter>,
    /// Answers to each prompt.
    per_prompt: usize,
    /// The text of each prompt, if it is repeated in front of its answers.
    echo: Vec<String>,
}

/// Returns a random id behind `prefix`.
pub(super) fn unique(prefix: &str) -> String {
    format!("{prefix}{:016x}{:08x}", random(), random() as u32)
}

fn usage(usage: Usage, reasoning: u64) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    })
}

/// A logarithm with four digits behind the point: with more, fewer answers would reveal the last matrix.
fn rounded(logprob: f64) -> f64 {
    // JSON has no infinity.
    (logprob.max(-9999.0) * 1e4).round() / 1e4
}

/// The logarithm of a token's own probability.
fn own(token: &Token) -> f64 {
    token.likelihood.map_or(-9999.0, |likelihood| rounded(likelihood.logprob))
}

/// OpenAI's word for the end of an answer.
pub(super) fn ended(finish: &Finish) -> &'static str {
    match finish {
        Finish::EndOfText { .. } | Finish::StopString(_) | Finish::Complete => "stop",
        _ => "length",
    }
}

/// A choice as it accumulates: its text and its tokens with their log-probabilities.
struct Told {
    deltas: Deltas,
    tokens: Vec<Token>,
    /// Where the text of each token begins, in characters.
    offsets: Vec<usize>,
    /// Characters so far.
    characters: usize,
    finish: Option<&'static str>,
}

impl Told {
    /// An empty choice behind `characters` of an echoed prompt.
    fn new(deltas: Deltas, characters: usize) -> Self {
        Self { deltas, tokens: Vec::new(), offsets: Vec::new(), characters, finish: None }
    }

    /// The mean of the logarithms of the tokens' probabilities.
    fn mean(&self) -> f64 {
        let logprobs = self.tokens.iter().filter_map(|token| token.likelihood).map(|likelihood| likelihood.logprob);
        logprobs.sum::<f64>() / self.tokens.len().max(1) as f64
    }

    fn push(&mut self, piece: Piece) {
        let before = self.tokens.len();
        if let Some(token) = piece.token {
            self.offsets.push(self.characters);
            self.tokens.push(token);
        }
        self.characters += piece.text.chars().count();
        self.deltas.push(&piece.text, self.tokens.len() > before);
    }
}

impl Frame {
    pub(super) fn new(shape: Shape, loaded: Arc<Loaded>, logprobs: bool, splitter: Option<Splitter>) -> Self {
        let prefix = if shape == Shape::Chat { "chatcmpl-" } else { "cmpl-" };
        let (id, created) = (unique(prefix), now());
        Self { shape, id, created, loaded, logprobs, splitter, per_prompt: 1, echo: Vec::new() }
    }

    /// Sets how many answers each prompt has, and the texts of the prompts if these stand in front of the answers.
    pub(super) fn with_prompts(self, per_prompt: usize, echo: Vec<String>) -> Self {
        Self { per_prompt: per_prompt.max(1), echo, ..self }
    }

    /// The name of the model.
    pub(super) fn name(&self) -> &str {
        &self.loaded.name
    }

    pub(super) fn per_prompt(&self) -> usize {
        self.per_prompt
    }

    /// Returns the text of a prompt that stands in front of its answers; empty without `echo`.
    pub(super) fn echoed(&self, prompt: usize) -> &str {
        self.echo.get(prompt).map_or("", String::as_str)
    }

    /// Returns an empty answer, to which the pieces of a choice are added.
    pub(super) fn deltas(&self) -> Deltas {
        Deltas::new(self.splitter.clone())
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.name(), "choices": choices,
            "system_fingerprint": self.loaded.model.fingerprint(),
        })
    }

    fn spelled(&self, id: u32) -> String {
        let text = self.loaded.model.tokenizer().and_then(|tokenizer| tokenizer.decode(&[id], false));
        text.unwrap_or_default()
    }

    fn entry(&self, id: u32, logprob: f64) -> Value {
        let text = self.spelled(id);
        // A token that is part of a character decodes to a replacement character, whose bytes are not the token's.
        let bytes = (!text.contains('\u{fffd}')).then(|| text.bytes().collect::<Vec<u8>>());
        json!({"token": text, "logprob": logprob, "bytes": bytes})
    }

    /// The log-probabilities of a token as a chat gives them, if the request asks for them.
    pub(super) fn logprob(&self, token: &Token) -> Option<Value> {
        self.logprobs.then(|| {
            let mut told = self.entry(token.id, own(token));
            let likeliest = token.likeliest.iter().map(|(id, logprob)| self.entry(*id, rounded(*logprob)));
            told["top_logprobs"] = likeliest.collect();
            told
        })
    }

    /// The field `logprobs` of a choice.
    fn told(&self, tokens: &[Token], offsets: &[usize]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        match self.shape {
            Shape::Chat => {
                let content = tokens.iter().filter_map(|token| self.logprob(token));
                json!({"content": content.collect::<Vec<Value>>(), "refusal": null})
            }
            Shape::Text => {
                let likeliest = tokens.iter().map(|token| {
                    let pairs =
                        token.likeliest.iter().map(|(id, logprob)| (self.spelled(*id), rounded(*logprob).into()));
                    Value::Object(pairs.collect::<Map<String, Value>>())
                });
                json!({
                    "tokens": tokens.iter().map(|token| self.spelled(token.id)).collect::<Vec<_>>(),
                    "token_logprobs": tokens.iter().map(own).collect::<Vec<_>>(),
                    "top_logprobs": likeliest.collect::<Vec<Value>>(), "text_offset": offsets,
                })
            }
        }
    }

    /// The first chunk of a choice, if there is one.
    pub(super) fn opening(&self, index: usize, prompt: usize) -> Option<Value> {
        let content = match self.shape {
            Shape::Chat => json!({"role": "assistant", "content": ""}),
            Shape::Text if self.echoed(prompt).is_empty() => return None,
            Shape::Text => self.echoed(prompt).into(),
        };
        Some(self.chunk(index, content, Value::Null, None))
    }

    /// A chunk of a stream: in a chat `content` is the delta, in a completion the text.
    fn chunk(&self, index: usize, content: Value, logprobs: Value, finish: Option<&str>) -> Value {
        let (object, key) = match self.shape {
            Shape::Chat => ("chat.completion.chunk", "delta"),
            Shape::Text => ("text_completion", "text"),
        };
        let mut choice = json!({"index": index, "logprobs": logprobs, "finish_reason": finish});
        choice[key] = content;
        self.object(object, vec![choice])
    }

    /// The chunks of a piece; none for a piece without text, unless log-probabilities are given. Those of its token stand in
    /// the first chunk.
    pub(super) fn piece(&self, index: usize, piece: &Piece, offset: usize, deltas: &mut Deltas) -> Vec<Value> {
        let mut contents = match self.shape {
            Shape::Chat => deltas.push(&piece.text, piece.token.is_some()),
            Shape::Text if piece.text.is_empty() => Vec::new(),
            Shape::Text => vec![json!(piece.text)],
        };
        let token = piece.token.as_ref().filter(|_| self.logprobs);
        if contents.is_empty() && token.is_some() {
            contents.push(if self.shape == Shape::Chat { json!({"content": ""}) } else { json!("") });
        }
        let mut told = token.map(|token| self.told(std::slice::from_ref(token), &[offset])).unwrap_or_default();
        contents.into_iter().map(|content| self.chunk(index, content, told.take(), None)).collect()
    }

    /// The last chunks of a choice.
    pub(super) fn end(&self, index: usize, finish: &Finish, deltas: &mut Deltas) -> Vec<Value> {
        let (rest, content) = match self.shape {
            Shape::Chat => (deltas.finish(), json!({})),
            Shape::Text => (Vec::new(), json!("")),
        };
        let mut chunks: Vec<Value> =
            rest.into_iter().map(|content| self.chunk(index, content, Value::Null, None)).collect();
        chunks.push(self.chunk(index, content, Value::Null, Some(deltas.reason(ended(finish)))));
        chunks
    }

    /// The chunk with the usage of tokens, behind all choices.
    pub(super) fn counted(&self, counted: Usage, reasoning: u64) -> Value {
        let object = if self.shape == Shape::Chat { "chat.completion.chunk" } else { "text_completion" };
        let mut chunk = self.object(object, Vec::new());
        chunk["usage"] = usage(counted, reasoning);
        chunk
    }

    /// Waits for all choices and returns the whole answer, with the `keep` likeliest answers to each prompt.
    pub(super) async fn whole(&self, mut choices: Choices, keep: usize) -> Result<Value> {
        let begun = |index| Told::new(self.deltas(), self.echoed(index / self.per_prompt).chars().count());
        let mut told: Vec<Told> = (0..choices.count()).map(begun).collect();
        while let Some((index, event)) = choices.next_good().await? {
            match event {
                Event::Piece(piece) => told[index].push(piece),
                Event::End { finish, .. } => {
                    let told = &mut told[index];
                    told.deltas.finish();
                    told.finish = Some(told.deltas.reason(ended(&finish)));
                }
                Event::Failed(error) => return Err(error.into()),
            }
        }
        let reasoning = told.iter().map(|told| told.deltas.reasoning_tokens()).sum();
        let mut shaped = Vec::new();
        for (prompt, answers) in told.chunks_mut(self.per_prompt).enumerate() {
            if keep < answers.len() {
                answers.sort_by(|a, b| b.mean().total_cmp(&a.mean()));
            }
            shaped.extend(
                answers
                    .iter()
                    .take(keep)
                    .enumerate()
                    .map(|(at, told)| self.choice(prompt * keep + at, self.echoed(prompt), told)),
            );
        }
        let object = if self.shape == Shape::Chat { "chat.completion" } else { "text_completion" };
        let mut whole = self.object(object, shaped);
        whole["usage"] = usage(choices.usage(), reasoning);
        Ok(whole)
    }

    fn choice(&self, index: usize, echo: &str, told: &Told) -> Value {
        let logprobs = self.told(&told.tokens, &told.offsets);
        let mut choice = json!({"index": index, "logprobs": logprobs, "finish_reason": told.finish});
        match self.shape {
            Shape::Chat => choice["message"] = told.deltas.message(),
            Shape::Text => choice["text"] = format!("{echo}{}", told.deltas.text()).into(),
        }
        choice
    }
}
