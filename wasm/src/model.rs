//! Loading a model, and the words around it.

use crate::device::check_case;
use crate::error::thrown;
use crate::files::JsFiles;
use crate::generation::Generation;
use crate::open::{executor, open_gpu, read};
use crate::options::JsOptions;
use crate::reading::Reading;
use crate::render::render;
use crate::session::Session;
use foveate_core::chat::Inputs;
use foveate_core::check::{self, Fallback, Trial};
use foveate_core::config::Mixer;
use foveate_core::generate::Lexicon;
use foveate_core::model::{self, Progress};
use foveate_core::tokenizer::TokenBytes;
use foveate_core::{Any, Backend, Error, Result};
use js_sys::{Function, Reflect};
use serde_json::{Value, json};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use wasm_bindgen::prelude::*;

/// A model in an executor's memory.
#[wasm_bindgen]
pub struct Model {
    inner: Arc<model::Model<Any>>,
    passed_over: Option<String>,
    trial: Option<Trial>,
}

/// Streams a model into an executor: `device` is `auto`, `gpu`, `cpu` or `reference`. `report(bytes, of, compiled, pipelines)`
/// hears of every piece of the weights and of every pipeline; if it returns `false` the loading ends as cancelled. With
/// `baseline` the GPU shows no more than WebGPU guarantees. Its kernels are tried and compiled ahead if `trial` says so, and by
/// default where the GPU is real: there compiling takes no time to speak of.
#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
pub async fn load(
    files: JsFiles,
    device: String,
    baseline: bool,
    trial: Option<bool>,
    report: Function,
) -> Result<Model, JsValue> {
    open(files, &device, baseline, trial, &report).await.map_err(thrown)
}

async fn open(files: JsFiles, asked: &str, baseline: bool, trial: Option<bool>, report: &Function) -> Result<Model> {
    let (loaded, compiled) = (Cell::new([0, 0]), Cell::new([0, 0]));
    let tell = || {
        let numbers = [loaded.get(), compiled.get()].concat().into_iter().map(|n| JsValue::from(n as f64));
        match report.apply(&JsValue::NULL, &numbers.collect()) {
            Ok(go_on) if go_on.as_bool() == Some(false) => Err(Error::Cancelled),
            Ok(_) => Ok(()),
            Err(error) => Err(crate::error::caught("the progress callback", &error)),
        }
    };
    let (mut device, mut unfit) = (asked, None);
    loop {
        let files = read(&files).await?;
        let (backend, passed_over) = executor(device, baseline).await?;
        let ahead = matches!(&backend, Any::Gpu(gpu) if trial.unwrap_or(!gpu.software()));
        let ops = if ahead { check::outline(&files).await? } else { Vec::new() };
        let backend = Arc::new(backend);
        // Kernels are tried and compiled while the weights are on their way.
        let trying = async {
            let (true, Any::Gpu(gpu)) = (ahead, &*backend) else { return Ok(None) };
            let trial = Trial::run(&ops, async || open_gpu(device, baseline).await).await?;
            gpu.follow(&trial);
            let mut along = |done: usize, of: usize| {
                compiled.set([done as u64, of as u64]);
                // Whoever wants no more ends the loading, and this with it.
                let _ = tell();
            };
            gpu.compile(&ops, &mut along).map(|()| Some(trial))
        };
        let mut piece = |Progress { bytes, of, .. }: Progress| {
            loaded.set([bytes, of]);
            tell()
        };
        let loading = model::Model::load_shared(backend.clone(), files, &mut piece);
        let (mut trying, mut loading) = (pin!(trying), pin!(loading));
        let (mut tried, mut model) = (None, None);
        let wrong = poll_fn(|context| -> Poll<Result<Option<Error>>> {
            if tried.is_none()
                && let Poll::Ready(trial) = trying.as_mut().poll(context)
            {
                match trial {
                    Ok(trial) => tried = Some(trial),
                    Err(error) => return Poll::Ready(Ok(Some(error))),
                }
            }
            if model.is_none()
                && let Poll::Ready(loaded) = loading.as_mut().poll(context)
            {
                model = Some(loaded?);
            }
            if tried.is_some() && model.is_some() { Poll::Ready(Ok(None)) } else { Poll::Pending }
        });
        match (wrong.await?, tried, model) {
            (Some(error), ..) if asked != "auto" => return Err(error),
            // A GPU that computes wrongly is none.
            (Some(error), ..) => (device, unfit) = ("cpu", Some(error.to_string())),
            (None, Some(trial), Some(inner)) => {
                let inner = Arc::new(inner);
                return Ok(Model { inner, passed_over: unfit.or(passed_over), trial });
            }
            _ => {}
        }
    }
}

fn mixer(mixer: &Mixer) -> Value {
    match mixer {
        Mixer::Delta(d) => {
            json!({"kind": "delta", "heads": d.value_heads, "keyDim": d.key_dim, "valueDim": d.value_dim})
        }
        Mixer::Routing(r) => {
            json!({"kind": "routing", "heads": r.heads, "clusters": r.clusters, "window": r.window})
        }
        mixer => {
            let attention = mixer.attention();
            json!({"kind": "attention", "heads": attention.map(|a| a.heads), "window": attention.and_then(|a| a.window)})
        }
    }
}

#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
impl Model {
    /// One line that names executor and device.
    pub fn describe(&self) -> String {
        self.inner.backend().describe()
    }

    /// Why no GPU was taken, where one was looked for.
    #[wasm_bindgen(getter, js_name = passedOver)]
    pub fn passed_over(&self) -> Option<String> {
        self.passed_over.clone()
    }

    /// Returns the result of the start-up self-test of a GPU; JSON of `{tried, untried, fallbacks: [{op, without,
    /// detail}]}`.
    #[wasm_bindgen(getter)]
    pub fn trial(&self) -> Option<String> {
        let Trial { tried, untried, fallbacks, .. } = self.trial.as_ref()?;
        let fallback = |f: &Fallback| json!({"op": f.op, "without": f.without, "detail": f.detail});
        let fallbacks: Vec<_> = fallbacks.iter().map(fallback).collect();
        Some(json!({"tried": tried, "untried": untried, "fallbacks": fallbacks}).to_string())
    }

    /// Runs one of [`case_names`](crate::case_names) here and by the definition; JSON of `[{name, passed, detail}]`.
    #[wasm_bindgen(js_name = checkCase)]
    pub async fn check_case(&self, name: String) -> Result<String, JsValue> {
        check_case(self.inner.backend(), &name).await
    }

    /// The family, as the files name it.
    #[wasm_bindgen(getter)]
    pub fn architecture(&self) -> String {
        self.inner.config().architecture.clone()
    }

    /// Tokens that the model was made for.
    #[wasm_bindgen(getter)]
    pub fn context(&self) -> u32 {
        self.inner.config().context
    }

    /// How each layer mixes tokens; JSON of `[{kind, heads, ..}]`, as `Layer` in web/src/layers.ts has it.
    #[wasm_bindgen(getter)]
    pub fn layers(&self) -> String {
        let all: Vec<_> = self.inner.config().layers.iter().map(|layer| mixer(&layer.mixer)).collect();
        json!(all).to_string()
    }

    #[wasm_bindgen(getter, js_name = vocabSize)]
    pub fn vocab_size(&self) -> u32 {
        self.inner.config().vocab
    }

    /// Elements of an embedding.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.inner.config().dim
    }

    #[wasm_bindgen(getter, js_name = hasTokenizer)]
    pub fn has_tokenizer(&self) -> bool {
        self.inner.tokenizer().is_ok()
    }

    #[wasm_bindgen(getter, js_name = hasTemplate)]
    pub fn has_template(&self) -> bool {
        self.inner.template().is_ok()
    }

    pub fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<u32>, JsValue> {
        self.inner.tokenizer().and_then(|t| t.encode(text, add_special)).map_err(thrown)
    }

    pub fn detokenize(&self, ids: &[u32], skip_special: bool) -> Result<String, JsValue> {
        self.inner.tokenizer().and_then(|t| t.decode(ids, skip_special)).map_err(thrown)
    }

    /// The id of a token by the vocabulary's spelling.
    #[wasm_bindgen(js_name = tokenId)]
    pub fn token_id(&self, token: &str) -> Option<u32> {
        Lexicon::id(&*self.inner, token)
    }

    #[wasm_bindgen(js_name = isControl)]
    pub fn is_control(&self, id: u32) -> bool {
        Lexicon::is_control(&*self.inner, id)
    }

    /// The text of the template that these inputs use, JSON of [`Inputs`](foveate_core::chat::Inputs).
    #[wasm_bindgen(js_name = templateSource)]
    pub fn template_source(&self, inputs: &str) -> Result<String, JsValue> {
        Inputs::from_json(inputs).and_then(|inputs| Lexicon::template(&*self.inner, &inputs)).map_err(thrown)
    }

    /// The bytes of each token, as `TokenBytes::pack` writes them.
    #[wasm_bindgen(js_name = tokenBytes)]
    pub fn token_bytes(&self) -> Result<Vec<u8>, JsValue> {
        let tokens = self.inner.tokenizer().and_then(|t| t.token_bytes(self.inner.config().vocab as usize));
        tokens.map(|tokens| TokenBytes::pack(&tokens)).map_err(thrown)
    }

    /// Tokens that end a text.
    #[wasm_bindgen(getter, js_name = endTokens)]
    pub fn end_tokens(&self) -> Vec<u32> {
        self.inner.end_tokens().to_vec()
    }

    /// Writes a conversation, JSON of `[{role, content, ..}]`, as the model expects it. `inputs` is JSON of
    /// [`Inputs`](foveate_core::chat::Inputs), of which each key may be missing.
    pub fn render(&self, messages: &str, inputs: &str) -> Result<String, JsValue> {
        let rendered = self.inner.template().and_then(|template| render(template, messages, inputs));
        rendered.map_err(thrown)
    }

    /// Begins an answer to these tokens.
    pub fn generate(&self, ids: Vec<u32>, options: &JsOptions) -> Result<Generation, JsValue> {
        Generation::new(&self.inner, ids, options).map_err(thrown)
    }

    /// Begins to read these tokens, for their scores or the vectors behind them.
    pub fn read(&self, ids: Vec<u32>, scores: bool) -> Result<Reading, JsValue> {
        Reading::new(&self.inner, ids, scores).map_err(thrown)
    }

    /// An empty session of at most `context` tokens, whose pages hold `pool` tokens for it and its forks.
    pub fn session(&self, context: u32, pool: u32, kv: &str) -> Result<Session, JsValue> {
        Session::new(&self.inner, context, pool, kv).map_err(thrown)
    }

    /// Returns the executor's counters, as numbers by their names.
    pub fn stats(&self) -> js_sys::Object {
        let stats = self.inner.backend().stats();
        let object = js_sys::Object::new();
        let entries = [
            ("bytes", stats.bytes),
            ("peakBytes", stats.peak_bytes),
            ("buffers", stats.buffers),
            ("submissions", stats.submissions),
            ("dispatches", stats.dispatches),
            ("downloads", stats.downloads),
            ("downloadedBytes", stats.downloaded_bytes),
        ];
        for (name, value) in entries {
            // Setting a property of an object that was made just now cannot fail.
            let _ = Reflect::set(&object, &name.into(), &(value as f64).into());
        }
        object
    }
}
