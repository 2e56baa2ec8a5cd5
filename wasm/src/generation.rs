//! One answer, a token at a time.

use crate::error::thrown;
use crate::options::JsOptions;
use crate::slot::{Slot, busy};
use foveate_core::generate::{Decode, Finish, Generator, Token, Usage};
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Model;
use foveate_core::session::Buffered;
use foveate_core::{Any, Error, Result};
use js_sys::{Array, Float64Array};
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

impl Generation {
    /// An answer to a prompt, in a session of its own with no more room than it needs.
    pub(crate) fn new(model: &Arc<Model<Any>>, ids: Vec<u32>, options: &JsOptions) -> Result<Self> {
        let (text, decode) =
            Generator::start(model.clone(), ids, model.config().context, DType::F32, &options.read()?)?.into_parts();
        text.session().prepare(&mut |_, _| {})?;
        let running = RefCell::new(Some(guided(decode, options)));
        Ok(Self { slot: Slot::new(RefCell::new(Some(text))), running })
    }

    /// An answer to what `text` holds, which is kept in `slot`.
    pub(crate) fn over(slot: &Slot, text: &mut Buffered<Any>, options: &JsOptions) -> Result<Self> {
        let running = RefCell::new(Some(guided(Decode::new(text, &options.read()?)?, options)));
        Ok(Self { slot: slot.clone(), running })
    }
}

/// Applies the guide of the options, if there is one.
fn guided(decode: Decode, options: &JsOptions) -> Decode {
    match options.guide() {
        Some(guide) => decode.with_guide(Box::new(guide)),
        None => decode,
    }
}

/// Log-probability, entropy and rank, then pairs of the likeliest tokens and their log-probabilities.
fn probabilities(token: &Token) -> Vec<f64> {
    let own = token.likelihood.map(|l| [l.logprob, l.entropy, l.rank.into()]);
    let likeliest = token.likeliest.iter().flat_map(|&(id, log)| [id.into(), log]);
    own.into_iter().flatten().chain(likeliest).collect()
}

#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
impl Generation {
    /// Generates a token: `[id, text, end, probabilities, usage]`, where `text` is complete with the token, and
    /// `probabilities` are those of [`probabilities`] if they were asked for.
    ///
    /// At the end there is no id. `end` is `stop` if the text has ended and `length` if there is no room for more, and `usage`
    /// has the tokens of the prompt, those of them that were cached, and generated ones. After the end, or an error of the
    /// device, there is no further step.
    pub async fn next(&self) -> Result<Array, JsValue> {
        let ended = || Error::Config { reason: "the answer has ended, or its last step has not".into() };
        let mut running = self.running.borrow_mut().take().ok_or_else(|| thrown(ended()))?;
        let Some(mut text) = self.slot.borrow_mut().take() else {
            self.running.replace(Some(running));
            return Err(thrown(busy()));
        };
        let piece = running.step(&mut text).await;
        if running.finish().is_some() {
            // A later answer that continues the text resumes exactly here.
            text.session_mut().checkpoint();
        }
        self.slot.replace(Some(text));
        let (text, token) = piece.map_err(thrown)?.map_or((String::new(), None), |piece| (piece.text, piece.token));
        let floats = |values: &[f64]| JsValue::from(Float64Array::from(values));
        let (text, none) = (JsValue::from(text), JsValue::UNDEFINED);
        Ok(match token {
            Some(token) => {
                let probabilities = floats(&probabilities(&token));
                self.running.replace(Some(running));
                Array::of5(&token.id.into(), &text, &none, &probabilities, &none)
            }
            None => {
                let natural = matches!(
                    running.finish(),
                    Some(Finish::EndOfText { .. } | Finish::StopString(_) | Finish::Complete)
                );
                let end = if natural { "stop" } else { "length" }.into();
                let Usage { prompt_tokens, cached_tokens, generated_tokens, .. } = running.usage();
                let usage = [prompt_tokens, cached_tokens, generated_tokens].map(|tokens| tokens as f64);
                Array::of5(&none, &text, &end, &floats(&[]), &floats(&usage))
            }
        })
    }

    /// Sets the next tokens of the answer; further tokens are chosen after them.
    pub fn force(&self, ids: &[u32]) -> Result<(), JsValue> {
        let (mut running, mut text) = (self.running.borrow_mut(), self.slot.borrow_mut());
        match (running.as_mut(), text.as_mut()) {
            (Some(running), Some(text)) => running.force(text, ids).map_err(thrown),
            _ => Err(thrown(busy())),
        }
    }
}
