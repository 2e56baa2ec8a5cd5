//! One answer, a token at a time.

use crate::error::thrown;
use crate::options::JsOptions;
use crate::slot::{Slot, busy};
use foveate_core::generate::{Decode, Finish, Generator, Token};
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Model;
use foveate_core::session::Buffered;
use foveate_core::{Any, Error, Result};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// An answer in the making.
#[wasm_bindgen]
pub struct Generation {
    slot: Slot,
    /// Taken while a step runs, as the session is.
    running: RefCell<Option<Decode>>,
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
    pub(crate) fn new(model: &Arc<Model<Any>>, ids: Vec<u32>, options: &JsOptions) -> Result<Self> {
        let (text, decode) =
            Generator::start(model.clone(), ids, model.config().context, DType::F32, &options.read()?)?.into_parts();
        text.session().prepare(&mut |_, _| {})?;
        Ok(Self { slot: Slot::new(RefCell::new(Some(text))), running: RefCell::new(Some(decode)) })
    }

    /// An answer to what `text` holds, which is kept in `slot`.
    pub(crate) fn over(slot: &Slot, text: &mut Buffered<Any>, options: &JsOptions) -> Result<Self> {
        let running = RefCell::new(Some(Decode::new(text, &options.read()?)?));
        Ok(Self { slot: slot.clone(), running })
    }
}

/// Log-probability, entropy and rank, then pairs of the likeliest tokens and their log-probabilities.
fn probabilities(token: &Token) -> Vec<f64> {
    let own = token.likelihood.map(|l| [l.logprob, l.entropy, l.rank.into()]);
    let likeliest = token.likeliest.iter().flat_map(|&(id, log)| [id.into(), log]);
    own.into_iter().flatten().chain(likeliest).collect()
}

#[wasm_bindgen]
impl Generation {
    /// The next token. After the end, or an error of the device, there is none.
    pub async fn next(&self) -> Result<Step, JsValue> {
        let ended = || Error::Config { reason: "the answer has ended, or its last step has not".into() };
        let mut running = self.running.borrow_mut().take().ok_or_else(|| thrown(ended()))?;
        let Some(mut text) = self.slot.borrow_mut().take() else {
            self.running.replace(Some(running));
            return Err(thrown(busy()));
        };
        let piece = running.step(&mut text).await;
        self.slot.replace(Some(text));
        let (text, token) = piece.map_err(thrown)?.map_or((String::new(), None), |piece| (piece.text, piece.token));
        let step = match token {
            Some(token) => Step { id: Some(token.id), text, end: None, probabilities: probabilities(&token) },
            None => {
                let natural = matches!(running.finish(), Some(Finish::EndOfText { .. } | Finish::StopString(_)));
                let end = Some(if natural { "stop" } else { "length" });
                return Ok(Step { id: None, text, end, probabilities: Vec::new() });
            }
        };
        self.running.replace(Some(running));
        Ok(step)
    }
}
