//! The files of a model, which JavaScript opens.

use crate::source::JsSource;
use foveate_core::Result;
use foveate_core::model::Hub;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What a model is made of: a GGUF file or all parts of a split one, or a folder of the hub. */
export interface JsFiles {
  gguf?: JsSource[] | undefined;
  weights?: JsSource[] | undefined;
  /** `config.json` and what else is there, as their bytes. */
  config?: Uint8Array | undefined;
  generation?: Uint8Array | undefined;
  tokenizer?: Uint8Array | undefined;
  tokenizerConfig?: Uint8Array | undefined;
  specialTokensMap?: Uint8Array | undefined;
  addedTokens?: Uint8Array | undefined;
  template?: string | undefined;
  templateJson?: Uint8Array | undefined;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "JsFiles")]
    pub type JsFiles;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn gguf(this: &JsFiles) -> Option<Vec<JsSource>>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn weights(this: &JsFiles) -> Option<Vec<JsSource>>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn config(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn generation(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn tokenizer(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter, js_name = tokenizerConfig)]
    pub(crate) fn tokenizer_config(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter, js_name = specialTokensMap)]
    pub(crate) fn special_tokens_map(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter, js_name = addedTokens)]
    pub(crate) fn added_tokens(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter, js_name = templateJson)]
    pub(crate) fn template_json(this: &JsFiles) -> Option<Uint8Array>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn template(this: &JsFiles) -> Option<String>;
}

impl JsFiles {
    /// Passes the small files of a folder to `read`.
    pub(crate) fn with_hub<T>(&self, read: impl FnOnce(Hub<'_>) -> Result<T>) -> Result<T> {
        let bytes = |file: Option<Uint8Array>| file.map(|bytes| bytes.to_vec());
        let [config, generation, tokenizer, tokenizer_config] =
            [self.config(), self.generation(), self.tokenizer(), self.tokenizer_config()].map(bytes);
        let [special_tokens_map, added_tokens, template_json] =
            [self.special_tokens_map(), self.added_tokens(), self.template_json()].map(bytes);
        let template = self.template();
        read(Hub {
            config: config.as_deref().unwrap_or_default(),
            generation: generation.as_deref(),
            tokenizer: tokenizer.as_deref(),
            tokenizer_config: tokenizer_config.as_deref(),
            special_tokens_map: special_tokens_map.as_deref(),
            added_tokens: added_tokens.as_deref(),
            template: template.as_deref(),
            template_json: template_json.as_deref(),
            templates: &[],
        })
    }
}
