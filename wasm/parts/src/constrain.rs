//! Constraints on answers.

use crate::constraint::read;
use crate::error::thrown;
use crate::exchange::Exchange;
use foveate_core::constrain;
use foveate_core::generate::{Guard, Guide as _};
use foveate_core::tokenizer::TokenBytes;
use foveate_core::{Error, Result};
use js_sys::{Function, Uint32Array};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// A model's vocabulary. Built once for a model.
#[wasm_bindgen]
pub struct Vocabulary {
    inner: Arc<constrain::Vocabulary>,
    tokens: Arc<[TokenBytes]>,
}

thread_local! {
    /// The functions that split texts into tokens, by the number of their vocabulary: the core wants what can be sent between
    /// threads, and values of JavaScript can't.
    static SPLITS: RefCell<Vec<Function>> = const { RefCell::new(Vec::new()) };
}

/// Splits a text by the function of this number.
fn split(number: usize, text: &str) -> Option<Vec<u32>> {
    let function = SPLITS.with_borrow(|all| all.get(number).cloned())?;
    let ids = function.call1(&JsValue::NULL, &text.into()).ok()?;
    Some(ids.dyn_into::<Uint32Array>().ok()?.to_vec())
}

#[wasm_bindgen]
impl Vocabulary {
    /// Takes the bytes of each token as `TokenBytes::pack` writes them, the tokens that end a text, and a function that splits
    /// a text into tokens, a `Uint32Array`, without special tokens around it.
    #[wasm_bindgen(constructor)]
    pub fn new(tokens: &[u8], ends: &[u32], encode: Function) -> Result<Vocabulary, JsValue> {
        let build = || {
            let damaged = || Error::Tokenizer { reason: "its tokens are not packed as expected".into() };
            let tokens = TokenBytes::unpack(tokens).ok_or_else(damaged)?;
            let number = SPLITS.with_borrow_mut(|all| {
                all.push(encode);
                all.len() - 1
            });
            let inner = constrain::Vocabulary::of_tokens(tokens.clone(), ends, move |text| split(number, text))?;
            Ok(Self { inner: Arc::new(inner), tokens: tokens.into() })
        };
        build().map_err(thrown)
    }
}

/// The progress of an answer through its constraint; `JsGuide` of the module of the models.
#[wasm_bindgen]
pub struct Guide {
    guard: Guard,
}

impl Guide {
    fn over(vocabulary: &Vocabulary, constraint: constrain::Constraint) -> Result<Self> {
        let tokens = vocabulary.tokens.clone();
        // Constraints begin behind marks of whole characters, so partial characters need not be joined.
        let spell = Box::new(move |id: u32| match tokens.get(id as usize) {
            Some(TokenBytes::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(TokenBytes::Control(name)) => name.clone(),
            Some(TokenBytes::Absent) | None => String::new(),
        });
        Ok(Self { guard: Guard::new(constraint, &vocabulary.inner, spell)? })
    }
}

#[wasm_bindgen]
impl Guide {
    /// Compiles a constraint, JSON as web/src/constraint.ts writes it.
    #[wasm_bindgen(constructor)]
    pub fn new(vocabulary: &Vocabulary, constraint: &str) -> Result<Guide, JsValue> {
        read(constraint).and_then(|constraint| Self::over(vocabulary, constraint)).map_err(thrown)
    }

    #[wasm_bindgen(getter, js_name = isComplete)]
    pub fn is_complete(&self) -> bool {
        self.guard.is_complete()
    }

    pub fn mask(&mut self) -> Result<Option<Vec<u32>>, JsValue> {
        self.guard.mask().map(|mask| mask.map(|mask| mask.words().to_vec())).map_err(thrown)
    }

    pub fn forced(&mut self) -> Vec<u32> {
        self.guard.forced()
    }

    pub fn accept(&mut self, id: u32) -> Result<(), JsValue> {
        self.guard.accept(id).map_err(thrown)
    }
}

#[wasm_bindgen]
impl Exchange {
    /// Compiles the constraint of the answer, if it has one.
    pub fn guide(&self, vocabulary: &Vocabulary) -> Result<Option<Guide>, JsValue> {
        let constraint = self.constraint.clone();
        constraint.map(|constraint| Guide::over(vocabulary, constraint)).transpose().map_err(thrown)
    }
}
