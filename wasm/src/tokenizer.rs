//! A model's tokenizer and chat template, without the model.

use crate::error::thrown;
use crate::files::JsFiles;
use crate::render::render;
use crate::source::File;
use foveate_core::model::TokenizerAndTemplate;
use foveate_core::{Error, Result};
use wasm_bindgen::prelude::*;

/// A tokenizer, and the chat template beside it.
#[wasm_bindgen]
pub struct Tokenizer {
    inner: TokenizerAndTemplate,
}

async fn read(files: &JsFiles) -> Result<TokenizerAndTemplate> {
    match files.gguf().and_then(|files| files.into_iter().next()) {
        Some(file) => TokenizerAndTemplate::from_gguf(&File::new(file)?).await,
        None => files.with_hub(|hub| TokenizerAndTemplate::from_hub(&hub)),
    }
}

/// Reads the header of a GGUF file, or the small files of a folder.
#[wasm_bindgen(js_name = openTokenizer, wasm_bindgen_futures = crate::task)]
pub async fn open_tokenizer(files: JsFiles) -> Result<Tokenizer, JsValue> {
    read(&files).await.map(|inner| Tokenizer { inner }).map_err(thrown)
}

#[wasm_bindgen]
impl Tokenizer {
    /// Tokens of the vocabulary, added ones included.
    #[wasm_bindgen(getter, js_name = vocabSize)]
    pub fn vocab_size(&self) -> usize {
        self.inner.tokenizer.vocab_size()
    }

    #[wasm_bindgen(getter, js_name = hasTemplate)]
    pub fn has_template(&self) -> bool {
        self.inner.template.as_ref().is_some_and(|template| template.check().is_ok())
    }

    /// Tokens that end a text, as far as the tokenizer's own files say.
    #[wasm_bindgen(getter, js_name = endTokens)]
    pub fn end_tokens(&self) -> Vec<u32> {
        self.inner.tokenizer.end_tokens()
    }

    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, JsValue> {
        self.inner.tokenizer.encode(text, add_special).map_err(thrown)
    }

    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, JsValue> {
        self.inner.tokenizer.decode(ids, skip_special).map_err(thrown)
    }

    /// Returns the vocabulary's spelling of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.tokenizer.token(id)
    }

    /// Returns the id of a token by the vocabulary's spelling.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.tokenizer.id(token)
    }

    /// Writes a conversation, as [`Model::render`](crate::Model::render).
    pub fn render(&self, messages: &str, inputs: &str) -> Result<String, JsValue> {
        let template =
            self.inner.template.as_ref().ok_or_else(|| Error::Template { reason: "the model has none".into() });
        let rendered = template.and_then(|template| template.check().map(|()| template));
        rendered.and_then(|template| render(template, messages, inputs)).map_err(thrown)
    }
}
