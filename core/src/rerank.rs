//! Rerankers: models that read a query and a document together and judge how well the document answers the query.
//!
//! A cross-encoder has a head that judges a text (`...ForSequenceClassification` in transformers) and reads the pair as its
//! tokenizer puts it together. Qwen3-Reranker is a language model that is asked in a fixed prompt and answers "yes" or
//! "no": the score is the share of "yes" of both.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::session::{Input, RollbackTarget, Session};
use std::sync::Arc;

/// The instruction of Qwen3-Reranker, where [`Options`] have none.
pub const INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";

const BEFORE: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the \
    Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
const BEHIND: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

/// The settings of a judgement.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The instruction of a language model; [`INSTRUCTION`] without it. Cross-encoders read none.
    pub instruction: Option<String>,
    /// Documents that are too long are cut; otherwise they are an error.
    pub truncate: bool,
}

impl Options {
    /// The usual instruction, and whole documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the instruction of a language model.
    pub fn instruction(self, instruction: impl Into<String>) -> Self {
        Self { instruction: Some(instruction.into()), ..self }
    }

    /// Cuts documents that are too long instead of refusing them.
    pub fn truncate(self, truncate: bool) -> Self {
        Self { truncate, ..self }
    }
}

/// How well a document answers a query.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Relevance {
    /// The number that the model gives; larger is better. A language model gives the logit of "yes" less that of "no".
    pub logit: f32,
    /// `1 / (1 + exp(-logit))`
    pub score: f32,
}

impl Relevance {
    fn new(logit: f32) -> Self {
        Self { logit, score: (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32 }
    }
}

/// The way in which a model judges.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A head gives one number.
    Head,
    /// The logits of "yes" and "no" are compared: of these tokens, or those of a head of these two labels.
    Answers(Option<[u32; 2]>),
}

/// Judges documents, one after the other.
pub struct Reranker<B: Backend> {
    model: Arc<Model<B>>,
    kind: Kind,
    session: Option<Session<B>>,
}

impl<B: Backend> Reranker<B> {
    /// Makes a reranker of a model with a head of one label, or of one of Qwen3's kind.
    ///
    /// # Errors
    /// `Config` for a head of several labels, and for any other model without a head; `Tokenizer` if a language model has no
    /// tokens for both answers.
    pub fn new(model: Arc<Model<B>>) -> Result<Self> {
        let config = model.config();
        let qwen = config.architecture.starts_with("qwen3");
        let kind = match config.classifier {
            Some(classifier) if classifier.labels == 1 => Kind::Head,
            Some(classifier) if classifier.labels == 2 && qwen => Kind::Answers(None),
            Some(classifier) => {
                let reason = format!("a head of {} labels does not rank: one label does", classifier.labels);
                return Err(Error::Config { reason });
            }
            None if qwen && !config.headless => {
                let tokenizer = model.tokenizer()?;
                let token = |word: &str| match tokenizer.encode(word, false)?[..] {
                    [id] => Ok(id),
                    _ => Err(Error::tokenizer(format!("{word} is not one token: the model is no reranker"))),
                };
                Kind::Answers(Some([token("yes")?, token("no")?]))
            }
            None => {
                let reason = format!(
                    "{} has no head that judges a pair of texts: rerankers are folders whose class ends in \
                     ForSequenceClassification, GGUF files of encoders with cls.output, and Qwen3-Reranker",
                    crate::error::one_line(&config.architecture)
                );
                return Err(Error::Config { reason });
            }
        };
        Ok(Self { model, kind, session: None })
    }

    /// Returns how well a document answers a query.
    ///
    /// # Errors
    /// `ContextFull` for a pair of too many tokens, unless documents are to be cut; `NotFinite` if the model gives NaN or
    /// infinity; `Tokenizer`; errors of the device.
    pub async fn judge(&mut self, query: &str, document: &str, options: &Options) -> Result<Relevance> {
        let most = self.model.config().context;
        let logit = match self.kind {
            Kind::Head => {
                let most = options.truncate.then_some(most);
                let (ids, parts) = self.model.tokenizer()?.encode_pair(query, document, most)?;
                let mut session = self.room(ids.len())?;
                let logits = classify(&mut session, &ids, &parts).await?;
                self.session = Some(session);
                logits[0]
            }
            Kind::Answers(of) => {
                let (ids, behind) = self.asked(query, document, options)?;
                let mut session = self.room(ids.len() + behind.len())?;
                let [yes, no] = answers(&mut session, &[&ids[..], &behind].concat(), of).await?;
                self.session = Some(session);
                yes - no
            }
        };
        match logit.is_finite() {
            true => Ok(Relevance::new(logit)),
            false => Err(Error::NotFinite { position: 0 }),
        }
    }

    /// The tokens of the prompt up to the end of the document, and those behind it.
    fn asked(&self, query: &str, document: &str, options: &Options) -> Result<(Vec<u32>, Vec<u32>)> {
        let (tokenizer, most) = (self.model.tokenizer()?, self.model.config().context as usize);
        let instruction = options.instruction.as_deref().unwrap_or(INSTRUCTION);
        let front = tokenizer.encode(BEFORE, false)?;
        let pair = format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}");
        let mut ids = [front, tokenizer.encode(&pair, false)?].concat();
        let behind = tokenizer.encode(BEHIND, false)?;
        if options.truncate {
            ids.truncate(most.saturating_sub(behind.len()));
        }
        Ok((ids, behind))
    }

    /// A session with room for `tokens`: the last one, or a larger one.
    fn room(&mut self, tokens: usize) -> Result<Session<B>> {
        let most = self.model.config().context;
        if tokens > most as usize {
            return Err(Error::ContextFull { tokens: tokens as u64, context: most.into() });
        }
        match self.session.take().filter(|session| session.context() as usize >= tokens) {
            Some(session) => Ok(session),
            None => Session::new(self.model.clone(), (tokens as u32).max(1).next_power_of_two().max(128).min(most)),
        }
    }
}

/// Returns the numbers that the head of the session's model gives a text, one for each label. `parts` holds the part of a pair
/// of texts, 0 or 1, that each token belongs to. The session is empty afterwards.
///
/// # Errors
/// `Config` for a model without such a head; `EmptyPrompt` for a text without tokens; as [`Session::hidden`].
pub async fn classify<B: Backend>(session: &mut Session<B>, ids: &[u32], parts: &[u32]) -> Result<Vec<f32>> {
    let model = session.model().clone();
    let Some(head) = &model.decoder().classifier else {
        return Err(Error::Config { reason: "the model has no head that judges texts".into() });
    };
    if ids.is_empty() {
        return Err(Error::EmptyPrompt);
    }
    session.rollback(RollbackTarget::Len(0))?;
    let mut rows = Vec::new();
    let paired = session.with_parts(parts)?;
    paired.session.hidden(Input::Tokens(ids), |given| rows.extend_from_slice(given)).await?;
    drop(paired);
    session.rollback(RollbackTarget::Len(0))?;
    Ok(head.judge(&rows, model.config().dim as usize))
}

/// The logits of two tokens behind `ids`, or those of the model's head.
async fn answers<B: Backend>(session: &mut Session<B>, ids: &[u32], of: Option<[u32; 2]>) -> Result<[f32; 2]> {
    let Some((last, front)) = ids.split_last() else { return Err(Error::EmptyPrompt) };
    // The prompt's beginning and the query are those of the document before.
    let cached = session.best_prefix(front).len;
    session.rollback(RollbackTarget::Len(cached))?;
    if (cached as usize) < front.len() {
        session.read(Input::Tokens(&front[cached as usize..]))?;
    }
    let mut row = Vec::new();
    let [yes, no] = match of {
        Some(tokens) => {
            session.logits(&[*last], |logits| row.extend_from_slice(logits)).await?;
            tokens
        }
        None => {
            session.hidden(Input::Tokens(&[*last]), |hidden| row.extend_from_slice(hidden)).await?;
            let model = session.model();
            if let Some(head) = &model.decoder().classifier {
                row = head.judge(&row, model.config().dim as usize);
            }
            [0, 1]
        }
    };
    let logit = |id: u32| row.get(id as usize).copied();
    match (logit(yes), logit(no)) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(Error::tokenizer("an answer is no token of the model")),
    }
}
