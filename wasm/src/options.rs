//! Options, read from objects of JavaScript.

use crate::guide::JsGuide;
use foveate_core::generate::{Generation, Speculation};
use foveate_core::sample::Sampling;
use foveate_core::{Error, Result};
use js_sys::Uint32Array;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
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

fn number(setting: &'static str, value: &JsValue) -> Result<Option<f64>> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    match value.as_f64() {
        Some(number) if number.is_finite() => Ok(Some(number)),
        number => {
            let text = || value.as_string().map_or_else(|| "another type".into(), |text| format!("{text:?}"));
            let got = number.map_or_else(text, |number| number.to_string());
            Err(Error::OutOfRange { setting, expected: "a finite number".into(), got })
        }
    }
}

/// A whole number of at most `most`.
fn whole(setting: &'static str, value: &JsValue, most: f64) -> Result<Option<f64>> {
    match number(setting, value)? {
        Some(v) if v < 0.0 || v.fract() != 0.0 || v > most => {
            let expected = format!("a whole number within 0 and {most}");
            Err(Error::OutOfRange { setting, expected, got: v.to_string() })
        }
        valid => Ok(valid),
    }
}

impl JsOptions {
    pub(crate) fn read(&self) -> Result<Generation> {
        let default = Sampling::default();
        let real = |name: &'static str, value: JsValue, default| {
            Ok::<_, Error>(number(name, &value)?.map_or(default, |v| v as f32))
        };
        let sampling = Sampling::default()
            .temperature(real("temperature", self.temperature(), default.temperature)?)
            .top_k(whole("topK", &self.top_k(), u32::MAX.into())?.map_or(default.top_k, |v| v as u32))
            .top_p(real("topP", self.top_p(), default.top_p)?)
            .min_p(real("minP", self.min_p(), default.min_p)?)
            .repetition_penalty(real("repetitionPenalty", self.repetition_penalty(), default.repetition_penalty)?)
            .seed(whole("seed", &self.seed(), 2f64.powi(53))?.map_or(default.seed, |v| v as u64));
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
