//! The model's template and tokenizer, which are in the module of the models (wasm/src).

use crate::error::message;
use foveate_core::chat::Inputs;
use foveate_core::generate::Lexicon;
use foveate_core::{Error, Result};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A model's template and tokenizer. */
export interface JsLexicon {
  /** Text of the template that these inputs use, which are JSON. */
  template(inputs: string): string;
  /** Id of a token by the vocabulary's spelling. */
  id(token: string): number | undefined;
  isControl(id: number): boolean;
  /** Ids of a text, without special tokens around it. */
  encode(text: string): Uint32Array;
  /** Text of ids, control tokens by their names. */
  decode(ids: Uint32Array): string;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "JsLexicon")]
    pub type JsLexicon;
    #[wasm_bindgen(method, catch)]
    fn template(this: &JsLexicon, inputs: &str) -> Result<String, JsValue>;
    #[wasm_bindgen(method)]
    fn id(this: &JsLexicon, token: &str) -> Option<u32>;
    #[wasm_bindgen(method, js_name = isControl)]
    fn is_control(this: &JsLexicon, id: u32) -> bool;
    #[wasm_bindgen(method, catch)]
    fn encode(this: &JsLexicon, text: &str) -> Result<Vec<u32>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn decode(this: &JsLexicon, ids: &[u32]) -> Result<String, JsValue>;
}

impl Lexicon for JsLexicon {
    fn template(&self, inputs: &Inputs) -> Result<String> {
        let inputs = serde_json::to_string(inputs).map_err(|e| Error::Template { reason: e.to_string() })?;
        JsLexicon::template(self, &inputs).map_err(|e| Error::Template { reason: message(&e) })
    }

    fn id(&self, token: &str) -> Option<u32> {
        JsLexicon::id(self, token)
    }

    fn is_control(&self, id: u32) -> bool {
        JsLexicon::is_control(self, id)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        JsLexicon::encode(self, text).map_err(|e| Error::Tokenizer { reason: message(&e) })
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        JsLexicon::decode(self, ids).map_err(|e| Error::Tokenizer { reason: message(&e) })
    }
}
