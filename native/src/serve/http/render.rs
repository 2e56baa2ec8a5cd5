//! Answers as JSON: whole ones, and the chunks of streams.

use super::choices::Choices;
use super::deltas::Deltas;
use super::error::{Failure, Result};
use super::settings::random;
use crate::Model;
use crate::serve::Event;
use axum::http::StatusCode;
use foveate_core::generate::{Finish, Piece, Token, Usage};
use foveate_core::parts::Splitter;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which of OpenAI's two interfaces asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Chat,
    Text,
}

/// What all chunks of an answer have in common.
pub(super) struct Frame {
    shape: Shape,
    id: String,
    created: u64,
    name: String,
    model: Model,
    logprobs: bool,
    splitter: Option<Splitter>,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A name that no other answer has.
pub(super) fn unique(prefix: &str) -> String {
    format!("{prefix}{:016x}{:08x}", random(), random() as u32)
}

pub(super) fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    })
}

/// A logarithm with four digits behind the point: more would tell the weights sooner.
fn rounded(logprob: f64) -> f64 {
    // JSON has no infinity.
    (logprob.max(-9999.0) * 1e4).round() / 1e4
}

fn reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::EndOfText { .. } | Finish::StopString(_) | Finish::Complete => "stop",
        _ => "length",
    }
}

/// Tokens and what was told of them, as they accumulate.
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
    fn new(deltas: Deltas) -> Self {
        Self { deltas, tokens: Vec::new(), offsets: Vec::new(), characters: 0, finish: None }
    }

    fn push(&mut self, piece: Piece) {
        if let Some(token) = piece.token {
            self.offsets.push(self.characters);
            self.tokens.push(token);
        }
        self.characters += piece.text.chars().count();
        self.deltas.push(&piece.text);
    }
}

impl Frame {
    pub(super) fn new(shape: Shape, name: &str, model: Model, logprobs: bool, splitter: Option<Splitter>) -> Self {
        let prefix = if shape == Shape::Chat { "chatcmpl-" } else { "cmpl-" };
        Self { shape, id: unique(prefix), created: now(), name: name.into(), model, logprobs, splitter }
    }

    /// Returns what an answer is split with.
    pub(super) fn deltas(&self) -> Deltas {
        Deltas::new(self.splitter.clone())
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.name, "choices": choices,
            "system_fingerprint": self.model.fingerprint(),
        })
    }

    fn spelled(&self, id: u32) -> String {
        let text = self.model.tokenizer().and_then(|tokenizer| tokenizer.decode(&[id], false));
        text.unwrap_or_default()
    }

    /// What `logprobs` is in an answer.
    fn told(&self, tokens: &[Token], offsets: &[usize]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let own = |token: &Token| token.likelihood.map_or(-9999.0, |likelihood| rounded(likelihood.logprob));
        let entry = |id: u32, logprob: f64| {
            let text = self.spelled(id);
            // Part of a character has no spelling of its own.
            let bytes = (!text.contains('\u{fffd}')).then(|| text.bytes().collect::<Vec<u8>>());
            json!({"token": text, "logprob": logprob, "bytes": bytes})
        };
        match self.shape {
            Shape::Chat => {
                let content = tokens.iter().map(|token| {
                    let mut told = entry(token.id, own(token));
                    let likeliest = token.likeliest.iter().map(|(id, logprob)| entry(*id, rounded(*logprob)));
                    told["top_logprobs"] = likeliest.collect();
                    told
                });
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

    /// The first chunk of each choice, if there is one.
    pub(super) fn opening(&self, index: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        (self.shape == Shape::Chat).then(|| self.chunk(index, delta, Value::Null, None))
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

    /// The chunks of a piece; none for one that says nothing yet. What is told of its token stands in the first.
    pub(super) fn piece(&self, index: usize, piece: &Piece, offset: usize, deltas: &mut Deltas) -> Vec<Value> {
        let mut contents = match self.shape {
            Shape::Chat => deltas.push(&piece.text),
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
        chunks.push(self.chunk(index, content, Value::Null, Some(deltas.reason(reason(finish)))));
        chunks
    }

    /// The chunk of tokens, behind all choices.
    pub(super) fn counted(&self, counted: Usage) -> Value {
        let object = if self.shape == Shape::Chat { "chat.completion.chunk" } else { "text_completion" };
        let mut chunk = self.object(object, Vec::new());
        chunk["usage"] = usage(counted);
        chunk
    }

    /// Waits for all choices and returns the whole answer.
    pub(super) async fn whole(&self, mut choices: Choices, count: usize) -> Result<Value> {
        let mut told: Vec<Told> = (0..count).map(|_| Told::new(self.deltas())).collect();
        while let Some((index, event)) = choices.next().await {
            match event {
                Some(Event::Piece(piece)) => told[index].push(piece),
                Some(Event::End { finish, .. }) => {
                    let told = &mut told[index];
                    told.deltas.finish();
                    told.finish = Some(told.deltas.reason(reason(&finish)));
                }
                Some(Event::Failed(error)) => return Err(error.into()),
                None => return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the engine has stopped")),
            }
        }
        let shaped = told.into_iter().enumerate().map(|(index, told)| {
            let logprobs = self.told(&told.tokens, &told.offsets);
            let mut choice = json!({"index": index, "logprobs": logprobs, "finish_reason": told.finish});
            match self.shape {
                Shape::Chat => choice["message"] = told.deltas.message(),
                Shape::Text => choice["text"] = told.deltas.text().into(),
            }
            choice
        });
        let object = if self.shape == Shape::Chat { "chat.completion" } else { "text_completion" };
        let mut whole = self.object(object, shaped.collect());
        whole["usage"] = usage(choices.usage());
        Ok(whole)
    }
}
