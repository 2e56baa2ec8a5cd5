//! Constraints on an answer, which a module of its own computes (wasm/parts).

use crate::error::message;
use foveate_core::constrain::Mask;
use foveate_core::generate::Guide;
use foveate_core::{Error, Result};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Restricts the tokens of an answer, step by step. */
export interface JsGuide {
  /** True if nothing further may follow. */
  readonly isComplete: boolean;
  /** Tokens that may follow, bit `id % 32` of word `id / 32`; undefined while all may. */
  mask(): Uint32Array | undefined;
  /** Tokens that follow in any case. */
  forced(): Uint32Array;
  /** Takes a token that was chosen. */
  accept(id: number): void;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "JsGuide")]
    pub type JsGuide;
    #[wasm_bindgen(method, getter, js_name = isComplete)]
    fn is_complete(this: &JsGuide) -> bool;
    #[wasm_bindgen(method, catch)]
    fn mask(this: &JsGuide) -> Result<Option<Vec<u32>>, JsValue>;
    #[wasm_bindgen(method)]
    fn forced(this: &JsGuide) -> Vec<u32>;
    #[wasm_bindgen(method, catch)]
    fn accept(this: &JsGuide, id: u32) -> Result<(), JsValue>;
}

/// Converts the error of a constraint. Its message already names the kind of error.
fn refused(error: JsValue) -> Error {
    Error::Setting { reason: message(&error) }
}

impl Guide for JsGuide {
    fn is_complete(&self) -> bool {
        self.is_complete()
    }

    fn mask(&mut self) -> Result<Option<Mask>> {
        JsGuide::mask(self).map(|words| words.map(Mask::from_words)).map_err(refused)
    }

    fn forced(&mut self) -> Vec<u32> {
        JsGuide::forced(self)
    }

    fn accept(&mut self, id: u32) -> Result<()> {
        JsGuide::accept(self, id).map_err(refused)
    }
}
