//! One answer, a token at a time.

use crate::error::thrown;
use crate::options::JsOptions;
use foveate_core::model::{Model, Session};
use foveate_core::sample::Sampler;
use foveate_core::tokenizer::Stream;
use foveate_core::{Any, Error, Result};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// An answer in the making.
#[wasm_bindgen]
pub struct Generation {
    /// Taken while a step runs, so that a second one at the same time is refused, not undefined.
    running: RefCell<Option<Running>>,
}

struct Running {
    session: Session<Any>,
    sampler: Sampler,
    /// Absent for models without a tokenizer.
    stream: Option<Stream>,
    /// Tokens that the next step reads: the prompt, then the last token.
    pending: Vec<u32>,
    left: u32,
}

/// A token and the text that is complete with it, or the end of the answer.
#[wasm_bindgen]
pub struct Step {
    id: Option<u32>,
    text: String,
    end: Option<&'static str>,
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

    /// `stop` if the model ended the text, `length` if there is no room for more; otherwise it goes on.
    #[wasm_bindgen(getter)]
    pub fn end(&self) -> Option<String> {
        self.end.map(Into::into)
    }
}

impl Generation {
    pub(crate) fn new(model: &Arc<Model<Any>>, pending: Vec<u32>, options: &JsOptions) -> Result<Self> {
        let (most, sampling) = options.read()?;
        let sampler = Sampler::new(sampling)?;
        if pending.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let (prompt, context) = (pending.len() as u64, u64::from(model.config().context));
        if prompt > context {
            return Err(Error::ContextFull { tokens: prompt, context });
        }
        // The last token of an answer is not read again, and needs no room.
        let room = (prompt + u64::from(most.max(1)) - 1).min(context);
        let left = most.min((room - prompt + 1) as u32);
        let session = Session::new(model.clone(), room as u32)?;
        session.prepare(&mut |_, _| {})?;
        let stream = model.tokenizer().ok().map(|t| t.stream(true));
        Ok(Self { running: RefCell::new(Some(Running { session, sampler, stream, pending, left })) })
    }
}

#[wasm_bindgen]
impl Generation {
    /// The next token. After the end, or an error of the device, there is none.
    pub async fn next(&self) -> Result<Step, JsValue> {
        let busy = || Error::Config { reason: "the answer has ended, or its last step has not".into() };
        let mut running = self.running.borrow_mut().take().ok_or_else(|| thrown(busy()))?;
        let step = running.next().await.map_err(thrown)?;
        if step.end.is_none() {
            self.running.replace(Some(running));
        }
        Ok(step)
    }
}

impl Running {
    async fn next(&mut self) -> Result<Step> {
        if self.left == 0 {
            return Ok(self.end("length"));
        }
        let id = self.session.next(&self.pending, &mut self.sampler).await?;
        if self.session.model().config().stops.contains(&id) {
            return Ok(self.end("stop"));
        }
        self.left -= 1;
        self.pending = vec![id];
        let text = self.stream.as_mut().and_then(|s| s.push(id)).unwrap_or_default();
        Ok(Step { id: Some(id), text, end: None })
    }

    /// The end, with what the tokenizer still held back.
    fn end(&mut self, why: &'static str) -> Step {
        let text = self.stream.take().and_then(Stream::finish).unwrap_or_default();
        Step { id: None, text, end: Some(why) }
    }
}
