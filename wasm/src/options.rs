//! Options, read from objects of JavaScript.

use crate::guide::JsGuide;
use crate::source::JsSource;
use foveate_core::generate::{Generation, Speculation};
use foveate_core::sample::Sampling;
use foveate_core::{Error, Result};
use js_sys::{Uint8Array, Uint32Array};
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
export interface JsOptions {
  maxTokens?: number | undefined;
  temperature?: number | undefined;
  topK?: number | undefined;
  topP?: number | undefined;
  minP?: number | undefined;
  repetitionPenalty?: number | undefined;
  seed?: number | undefined;
  /** Texts that end the answer. */
  stop?: readonly string[] | undefined;
  ignoreEos?: boolean | undefined;
  /** Other samplers, each as `name=value`. */
  samplers?: readonly string[] | undefined;
  /** Way to draft tokens: `lookup`. */
  speculate?: string | undefined;
  /** Likeliest tokens to tell of with every token; undefined asks for no probabilities at all. */
  logprobs?: number | undefined;
  /** Control tokens whose spelling belongs to the text. */
  shown?: Uint32Array | undefined;
  /** Number of this answer among several to one prompt: each has draws of its own. */
  sequence?: number | undefined;
  /** Restricts the tokens. */
  guide?: JsGuide | undefined;
  /** Tokens of this answer that were generated before, on a device that was lost. `guide` has taken them. */
  replay?: Uint32Array | undefined;
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

    #[wasm_bindgen(typescript_type = "JsOptions")]
    pub type JsOptions;
    #[wasm_bindgen(method, getter, js_name = maxTokens)]
    fn max_tokens(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn temperature(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = topK)]
    fn top_k(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = topP)]
    fn top_p(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = minP)]
    fn min_p(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = repetitionPenalty)]
    fn repetition_penalty(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn seed(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn stop(this: &JsOptions) -> Option<Vec<String>>;
    #[wasm_bindgen(method, getter, js_name = ignoreEos)]
    fn ignore_eos(this: &JsOptions) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    fn samplers(this: &JsOptions) -> Option<Vec<String>>;
    #[wasm_bindgen(method, getter)]
    fn speculate(this: &JsOptions) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn logprobs(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn shown(this: &JsOptions) -> Option<Uint32Array>;
    #[wasm_bindgen(method, getter)]
    fn sequence(this: &JsOptions) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn guide(this: &JsOptions) -> Option<JsGuide>;
    #[wasm_bindgen(method, getter)]
    fn replay(this: &JsOptions) -> Option<Uint32Array>;
}

/// Tokens that a step tells of at most.
const MOST_LIKELY: f64 = 100.0;

fn number(name: &str, value: &JsValue) -> Result<Option<f64>> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    let wrong = || Error::Config { reason: format!("{name} must be a number") };
    value.as_f64().filter(|v| v.is_finite()).map(Some).ok_or_else(wrong)
}

/// A whole number of at most `most`.
fn whole(name: &str, value: &JsValue, most: f64) -> Result<Option<f64>> {
    match number(name, value)? {
        Some(v) if v < 0.0 || v.fract() != 0.0 || v > most => {
            Err(Error::Config { reason: format!("{name} must be a whole number within 0 and {most}, got {v}") })
        }
        valid => Ok(valid),
    }
}

impl JsOptions {
    pub(crate) fn read(&self) -> Result<Generation> {
        let default = Sampling::default();
        let real = |name, value: JsValue, default| Ok::<_, Error>(number(name, &value)?.map_or(default, |v| v as f32));
        let sampling = Sampling {
            temperature: real("temperature", self.temperature(), default.temperature)?,
            top_k: whole("topK", &self.top_k(), u32::MAX.into())?.map_or(default.top_k, |v| v as u32),
            top_p: real("topP", self.top_p(), default.top_p)?,
            min_p: real("minP", self.min_p(), default.min_p)?,
            repetition_penalty: real("repetitionPenalty", self.repetition_penalty(), default.repetition_penalty)?,
            seed: whole("seed", &self.seed(), 2f64.powi(53))?.map_or(default.seed, |v| v as u64),
        };
        let mut options = Generation::new().sampling(sampling);
        if let Some(most) = whole("maxTokens", &self.max_tokens(), u32::MAX.into())? {
            options.max_tokens = most as u64;
        }
        options.stop = self.stop().unwrap_or_default();
        options.ignore_eos = self.ignore_eos().unwrap_or_default();
        for setting in self.samplers().unwrap_or_default() {
            let (name, value) = setting.split_once('=').unwrap_or((&setting, ""));
            options.samplers.set(name, value)?;
        }
        options.speculate = match self.speculate().as_deref() {
            None => None,
            Some("lookup") => Some(Speculation::lookup()),
            Some(other) => {
                return Err(Error::Setting { reason: format!("speculate must be \"lookup\", got {other:?}") });
            }
        };
        options.logprobs = whole("logprobs", &self.logprobs(), MOST_LIKELY)?.map(|count| count as usize);
        options.shown = self.shown().map(|ids| ids.to_vec()).unwrap_or_default();
        options.sequence = whole("sequence", &self.sequence(), u32::MAX.into())?.map_or(0, |v| v as u64);
        // Tokens of the answer that are there already.
        options.replay = self.replay().map(|ids| ids.to_vec()).unwrap_or_default();
        Ok(options)
    }
}
