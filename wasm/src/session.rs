//! Sequences that JavaScript appends to, goes back in, forks, augments and keeps.

use crate::error::thrown;
use crate::generation::Generation;
use crate::options::JsOptions;
use crate::reading::PIECE;
use crate::slot::{Slot, busy};
use foveate_core::cache;
use foveate_core::coprocessor::{Cancel, Coprocessor, Job, Policy, Splice, Task};
use foveate_core::kernels::{attention, quant};
use foveate_core::model;
use foveate_core::session::{self, Buffered, BufferedSnapshot, Span, op_class};
use foveate_core::{Any, Error, Result};
use js_sys::Float32Array;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds, in pages, in workers and in Node.js.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// Seconds by that clock.
fn seconds() -> f64 {
    now() / 1e3
}

fn segments(text: &Buffered<Any>) -> Value {
    let span = |s: &Span| json!({"kind": s.kind.name(), "start": s.start, "length": s.len, "position": s.position});
    text.spans().iter().map(span).collect()
}

/// The ops that were timed, as JSON of `[[op, seconds, bytes]]`, in their order.
async fn timings(session: &mut session::Session<Any>) -> Result<Value> {
    let mut ops = session.time(None);
    if let Any::Gpu(gpu) = session.model().backend() {
        let times = gpu.timings().await;
        gpu.set_timing(false)?;
        let times = times?;
        if times.len() != ops.len() {
            let reason = "something else ran on the model while its ops were timed".into();
            return Err(Error::Config { reason });
        }
        ops.iter_mut().zip(times).for_each(|((_, seconds), time)| *seconds = time);
    }
    Ok(ops.iter().map(|(op, seconds)| json!([op_class(op), seconds, op.bytes()])).collect())
}

/// A sequence of tokens through a model.
#[wasm_bindgen]
pub struct Session {
    slot: Slot,
}

/// A session as it was.
#[wasm_bindgen]
pub struct Snapshot {
    snapshot: BufferedSnapshot<Any>,
}

/// Latents that were asked for.
#[wasm_bindgen]
pub struct Augmentation {
    job: RefCell<Job<Any>>,
    task: RefCell<Option<Task<Any>>>,
    snapshot: cache::Snapshot<Any>,
    model: Arc<model::Model<Any>>,
}

/// The tokens, positions, keys and values of a session, for code that computes latents.
#[wasm_bindgen(getter_with_clone)]
pub struct View {
    pub tokens: Vec<u32>,
    pub positions: Vec<u32>,
    /// Keys and values in turn, layer by layer, `[tokens, heads, dim]` each: of layers that see a window, of the tokens that
    /// the next one sees of it.
    pub layers: Vec<Float32Array>,
}

impl Session {
    pub(crate) fn new(model: &Arc<model::Model<Any>>, context: u32, pool: u32, kv: &str) -> Result<Self> {
        let format = attention::KV.iter().copied().find(|format| format.name() == kv);
        let unknown = || Error::Config { reason: format!("keys can't be kept as {kv}") };
        let (backend, config) = (model.backend(), model.config());
        let (format, tokens) = (format.ok_or_else(unknown)?, pool.max(context));
        // One more than fit at their longest: a snapshot is a sequence of its own, as soon as the session has left it behind.
        let sequences = tokens.div_ceil(context.max(1)) + 1;
        let pool = cache::Pool::with_windows(backend, config, format, tokens, sequences)?;
        let session = session::Session::in_pool(model.clone(), Arc::new(pool), context)?;
        session.prepare(&mut |_, _| {})?;
        Ok(Self::over(Buffered::new(session)))
    }

    fn over(text: Buffered<Any>) -> Self {
        Self { slot: Rc::new(RefCell::new(Some(text))) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Buffered<Any>) -> Result<T>) -> Result<T, JsValue> {
        let mut text = self.slot.borrow_mut();
        text.as_mut().ok_or_else(busy).and_then(work).map_err(thrown)
    }

    fn take(&self) -> Result<Buffered<Any>, JsValue> {
        self.slot.borrow_mut().take().ok_or_else(|| thrown(busy()))
    }
}

#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
impl Session {
    /// Every token, with 4294967295 for a latent.
    pub fn tokens(&self) -> Result<Vec<u32>, JsValue> {
        self.with(|text| Ok(text.tokens()))
    }

    /// Returns the session's segments; JSON of `[{kind, start, length, position}]`.
    pub fn segments(&self) -> Result<String, JsValue> {
        self.with(|text| Ok(segments(text).to_string()))
    }

    /// Times every op of the session from here on: by the device's timestamps on a GPU, by this thread's clock elsewhere.
    #[wasm_bindgen(js_name = startTiming)]
    pub fn start_timing(&self) -> Result<(), JsValue> {
        self.with(|text| {
            if let Any::Gpu(gpu) = text.session().model().backend() {
                gpu.set_timing(true)?;
            }
            text.session_mut().time(Some(Box::new(seconds)));
            Ok(())
        })
    }

    /// Ends that; JSON of `[[op, seconds, bytes]]`, with the fewest bytes that an op can move.
    pub async fn timings(&self) -> Result<String, JsValue> {
        let mut text = self.take()?;
        let timed = timings(text.session_mut()).await;
        self.slot.replace(Some(text));
        timed.map(|ops| ops.to_string()).map_err(thrown)
    }

    /// Puts tokens behind the others, for [`read`](Self::read) to read.
    pub fn append(&self, ids: &[u32]) -> Result<(), JsValue> {
        self.with(|text| text.append(ids))
    }

    /// Reads some of what was appended; whether there is more.
    pub fn read(&self) -> Result<bool, JsValue> {
        self.with(|text| text.read(PIECE))
    }

    /// Replaces all tokens with these, and returns how many of them were read already. [`read`](Self::read) reads the
    /// others.
    pub fn rewrite(&self, ids: &[u32]) -> Result<u32, JsValue> {
        self.with(|text| text.set_tokens(ids))
    }

    /// Begins an answer to what the session holds.
    pub fn generate(&self, options: &JsOptions) -> Result<Generation, JsValue> {
        self.with(|text| Generation::over(&self.slot, text, options))
    }

    /// Forgets what stands from `len` on.
    pub fn rollback(&self, len: u32) -> Result<(), JsValue> {
        self.with(|text| text.rollback(len))
    }

    /// Goes back to what a snapshot holds.
    #[wasm_bindgen(js_name = rollbackTo)]
    pub fn rollback_to(&self, to: &Snapshot) -> Result<(), JsValue> {
        self.with(|text| text.rollback_to(&to.snapshot))
    }

    pub fn snapshot(&self) -> Result<Snapshot, JsValue> {
        self.with(|text| Ok(Snapshot { snapshot: text.snapshot() }))
    }

    /// A second session that goes on from a snapshot.
    pub fn fork(&self, from: &Snapshot) -> Result<Session, JsValue> {
        self.with(|text| Ok(Self::over(text.fork(&from.snapshot)?)))
    }

    /// The words of what a layer remembers beside keys and values, if it does.
    pub async fn state(&self, layer: usize) -> Result<Option<Vec<u32>>, JsValue> {
        let text = self.take()?;
        let state = text.session().state(layer).await;
        self.slot.replace(Some(text));
        let words = |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        state.map(|state| state.map(words)).map_err(thrown)
    }

    /// The cache as a file.
    pub async fn save(&self) -> Result<Vec<u8>, JsValue> {
        let text = self.take()?;
        let saved = text.save().await;
        self.slot.replace(Some(text));
        saved.map_err(thrown)
    }

    /// Takes a saved cache in the place of what the session holds.
    pub async fn restore(&self, bytes: Vec<u8>) -> Result<(), JsValue> {
        let mut text = self.take()?;
        let restored = text.restore(bytes).await;
        self.slot.replace(Some(text));
        restored.map_err(thrown)
    }

    /// Asks for at most `latents` latents behind what has been read.
    pub fn augment(&self, latents: u32) -> Result<Augmentation, JsValue> {
        self.with(|text| {
            let snapshot = text.session().snapshot();
            let (job, task) = Job::new(snapshot.clone(), latents);
            let (job, task) = (RefCell::new(job), RefCell::new(Some(task)));
            Ok(Augmentation { job, task, snapshot, model: text.session().model().clone() })
        })
    }

    /// Takes in what came of an augmentation, `policy` being `tail`, `snapshot` or `drop`; why not, if it was dropped.
    pub async fn splice(
        &self,
        augmentation: &Augmentation,
        latents: Vec<f32>,
        policy: String,
    ) -> Result<Option<String>, JsValue> {
        let policy = match policy.as_str() {
            "tail" => Policy::AtTail,
            "snapshot" => Policy::AtSnapshot,
            "drop" => Policy::DropIfStale,
            other => return Err(thrown(Error::Config { reason: format!("there is no policy {other}") })),
        };
        let task = augmentation.task.take();
        if let Some(task) = task {
            task.run(&mut Made(latents)).await;
        }
        self.with(|text| match text.session_mut().splice(&mut augmentation.job.borrow_mut(), policy) {
            Splice::Spliced(_) => Ok(None),
            Splice::Pending => Ok(Some(busy().to_string())),
            Splice::Dropped(error) => Ok(Some(error.to_string())),
        })
    }
}

#[wasm_bindgen]
impl Snapshot {
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> u32 {
        self.snapshot.len()
    }
}

#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
impl Augmentation {
    /// Elements of a latent.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.snapshot.pool().width()
    }

    /// Returns what the session has read: tokens, positions, and keys and values in f32.
    pub async fn view(&self) -> Result<View, JsValue> {
        let format = self.snapshot.pool().format();
        let layers = self.snapshot.rows(self.model.backend()).await.map_err(thrown)?;
        let floats = |bytes: Vec<u8>| {
            let elements = bytes.len() as u64 / u64::from(format.block_bytes()) * u64::from(format.block_len());
            let mut values = vec![0.0; elements as usize];
            quant::decode(format, &bytes, &mut values);
            Float32Array::from(values.as_slice())
        };
        let layers = layers.into_iter().flat_map(|(keys, values)| [keys, values]).map(floats).collect();
        Ok(View { tokens: self.snapshot.tokens().to_vec(), positions: self.snapshot.positions(), layers })
    }
}

/// Latents that JavaScript has made.
struct Made(Vec<f32>);

impl Coprocessor<Any> for Made {
    async fn augment(&mut self, _: &cache::Snapshot<Any>, _: u32, _: &Cancel) -> Result<Vec<f32>> {
        Ok(std::mem::take(&mut self.0))
    }
}
