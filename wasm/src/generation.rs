//! One answer, a token at a time.

use crate::error::thrown;
use crate::options::JsOptions;
use crate::reading::{Likelihood, likeliest, likelihood};
use crate::session::{Open, Slot, busy};
use foveate_core::cache::NO_TOKEN;
use foveate_core::host::HostBackend;
use foveate_core::kernels::ops::Op;
use foveate_core::kernels::sample::NOT_FINITE;
use foveate_core::model::Model;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::Session;
use foveate_core::tokenizer::Stream;
use foveate_core::{Any, Error, Result, run_on};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// An answer in the making.
#[wasm_bindgen]
pub struct Generation {
    slot: Slot,
    /// Taken while a step runs, as the session is.
    running: RefCell<Option<Running>>,
}

struct Running {
    sampler: Sampler,
    /// Absent for models without a tokenizer.
    stream: Option<Stream>,
    left: u32,
    /// How many of the likeliest tokens every step tells of, if probabilities were asked for.
    likeliest: Option<usize>,
}

/// A token and the text that is complete with it, or the end of the answer.
#[wasm_bindgen]
pub struct Step {
    id: Option<u32>,
    text: String,
    end: Option<&'static str>,
    /// Log-probability, entropy and rank, then pairs of the likeliest tokens and their log-probabilities.
    probabilities: Vec<f64>,
}

#[wasm_bindgen]
impl Step {
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> Option<u32> {
        self.id
    }

    #[wasm_bindgen(getter)]
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// Log-probability, entropy and rank of the token, then pairs of the likeliest tokens and their log-probabilities;
    /// empty unless they were asked for.
    #[wasm_bindgen(getter)]
    pub fn probabilities(&self) -> Vec<f64> {
        self.probabilities.clone()
    }

    /// `stop` if the model ended the text, `length` if there is no room for more; otherwise it goes on.
    #[wasm_bindgen(getter)]
    pub fn end(&self) -> Option<String> {
        self.end.map(Into::into)
    }
}

impl Generation {
    /// An answer to a prompt, in a session of its own with no more room than it needs.
    pub(crate) fn new(model: &Arc<Model<Any>>, mut pending: Vec<u32>, options: &JsOptions) -> Result<Self> {
        let (most, sampling) = options.read()?;
        Sampler::new(sampling)?;
        if pending.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let (prompt, context) = (pending.len() as u64, u64::from(model.config().context));
        if prompt > context {
            return Err(Error::ContextFull { tokens: prompt, context });
        }
        // The last token of an answer is not read again, and needs no room.
        let room = (prompt + u64::from(most.max(1)) - 1).min(context);
        let session = Session::new(model.clone(), room as u32)?;
        session.prepare(&mut |_, _| {})?;
        pending.extend(options.replayed());
        let open = Open { session, pending };
        let slot = Slot::default();
        let generation = Self::over(&slot, &open, options)?;
        slot.replace(Some(open));
        Ok(generation)
    }

    /// An answer to what `open` holds, which is kept in `slot`.
    pub(crate) fn over(slot: &Slot, open: &Open, options: &JsOptions) -> Result<Self> {
        let (most, sampling) = options.read()?;
        if open.pending.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let model = open.session.model();
        let mut sampler = Sampler::new(sampling)?;
        let mut stream = model.tokenizer().ok().map(|t| t.stream(true));
        // An answer that was cut off goes on as if it had not been: with its draws, its half characters and its tokens.
        let replay = options.replayed();
        for &id in &replay {
            sampler.next(model.config().vocab);
            stream.as_mut().and_then(|stream| stream.push(id));
        }
        let left = most.saturating_sub(replay.len() as u32);
        let running = Running { sampler, stream, left, likeliest: options.likeliest()? };
        Ok(Self { slot: slot.clone(), running: RefCell::new(Some(running)) })
    }
}

#[wasm_bindgen]
impl Generation {
    /// The next token. After the end, or an error of the device, there is none.
    pub async fn next(&self) -> Result<Step, JsValue> {
        let ended = || Error::Config { reason: "the answer has ended, or its last step has not".into() };
        let mut running = self.running.borrow_mut().take().ok_or_else(|| thrown(ended()))?;
        let Some(mut open) = self.slot.borrow_mut().take() else {
            self.running.replace(Some(running));
            return Err(thrown(busy()));
        };
        let step = running.next(&mut open).await;
        self.slot.replace(Some(open));
        let step = step.map_err(thrown)?;
        if step.end.is_none() {
            self.running.replace(Some(running));
        }
        Ok(step)
    }
}

impl Running {
    async fn next(&mut self, open: &mut Open) -> Result<Step> {
        if self.left == 0 || open.len() > open.session.context() {
            return Ok(self.end("length"));
        }
        let (id, probabilities) = match self.likeliest {
            None => (open.session.next(&open.pending, &mut self.sampler).await?, Vec::new()),
            Some(count) => self.weighed(open, count).await?,
        };
        open.pending.clear();
        if open.session.model().end_tokens().contains(&id) {
            return Ok(self.end("stop"));
        }
        self.left -= 1;
        open.pending.push(id);
        let text = self.stream.as_mut().and_then(|s| s.push(id)).unwrap_or_default();
        Ok(Step { id: Some(id), text, end: None, probabilities })
    }

    /// The next token, chosen here from logits that come back, and what [`Step`] tells of it.
    async fn weighed(&mut self, open: &mut Open, count: usize) -> Result<(u32, Vec<f64>)> {
        let Open { session, pending } = open;
        let Some(&last) = pending.last() else { return Err(Error::EmptyPrompt) };
        if pending.len() > 1 {
            // What comes after the token before the last is known: it is the last.
            let before = &pending[..pending.len() - 1];
            session.next(before, &mut Sampler::new(Sampling::default())?).await?;
            *pending = vec![last];
        }
        let mut row = Vec::new();
        session.logits(&[last], |logits| row.extend_from_slice(logits)).await?;
        let id = chosen(&row, &mut self.sampler, session.tokens()).await?;
        if id == NOT_FINITE {
            let position = session.tokens().len();
            session.rewind(position as u32 - 1)?;
            return Err(Error::NotFinite { position: position as u64 });
        }
        let Likelihood { log_probability, entropy, rank } = likelihood(&row, id);
        let likeliest = likeliest(&row, count).into_iter().flat_map(|(id, log)| [id.into(), log]);
        Ok((id, [log_probability, entropy, rank.into()].into_iter().chain(likeliest).collect()))
    }

    /// The end, with what the tokenizer still held back.
    fn end(&mut self, why: &'static str) -> Step {
        let text = self.stream.take().and_then(Stream::finish).unwrap_or_default();
        Step { id: None, text, end: Some(why), probabilities: Vec::new() }
    }
}

/// The token that the op `sample` chooses or [`NOT_FINITE`], run on the processor: the same on every executor.
async fn chosen(row: &[f32], sampler: &mut Sampler, seen: &[u32]) -> Result<u32> {
    let op = Op::from(sampler.next(row.len() as u32));
    let mut bits = vec![0u32; row.len().div_ceil(32)];
    let ids = seen.iter().filter(|id| **id != NO_TOKEN);
    ids.for_each(|&id| bits[id as usize / 32] |= 1 << (id % 32));
    let bytes = |words: Vec<u32>| words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let (logits, seen) = (bytes(row.iter().map(|z| z.to_bits()).collect()), bytes(bits));
    let mut inputs: Vec<(&str, &[u8])> = vec![("logits", &logits)];
    // Without a penalty the op takes no set of tokens that were seen.
    inputs.extend(op.kernel().args().iter().any(|arg| arg.name == "seen").then_some(("seen", &seen[..])));
    let outputs = run_on(&HostBackend::cpu(1), &op, &inputs).await?;
    let internal = || Error::Device { reason: "the choice of a token came to nothing".into() };
    outputs.u32("token").and_then(|ids| ids.first().copied()).ok_or_else(internal)
}
