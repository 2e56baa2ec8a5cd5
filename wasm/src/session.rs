//! Sequences that JavaScript appends to, goes back in, forks, augments and keeps.

use crate::error::thrown;
use crate::generation::Generation;
use crate::options::JsOptions;
use crate::reading::PIECE;
use foveate_core::cache::{self, Kind, NO_TOKEN, Segment};
use foveate_core::coprocessor::{Cancel, Coprocessor, Job, Policy, Splice, Task};
use foveate_core::kernels::{attention, quant};
use foveate_core::model;
use foveate_core::session::{self, Input, class};
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

/// A session, and the tokens behind those that it has read.
pub(crate) struct Open {
    pub(crate) session: session::Session<Any>,
    /// The last token of a text waits here: what comes after it is asked when it is read.
    pub(crate) pending: Vec<u32>,
}

/// Taken while a step runs, so that a second one at the same time is refused, not undefined.
pub(crate) type Slot = Rc<RefCell<Option<Open>>>;

pub(crate) fn busy() -> Error {
    Error::Config { reason: "the last step of the session has not ended".into() }
}

impl Open {
    pub(crate) fn len(&self) -> u32 {
        (self.session.tokens().len() + self.pending.len()) as u32
    }

    fn tokens(&self) -> Vec<u32> {
        [self.session.tokens(), &self.pending].concat()
    }

    /// The segments as they are in the cache, with what waits at the end of the text before it.
    fn segments(&self) -> Value {
        let segment = |kind: Kind, start: u32, length: u32, position: u32| {
            let kind = kind.name();
            json!({"kind": kind, "start": start, "length": length, "position": position})
        };
        let (read, waiting) = (self.session.segments(), self.pending.len() as u32);
        let last = read.last().map_or((0, 0), |s| (s.end(), s.position + s.len));
        let grown = |s: &Segment| if s.kind == Kind::Text && s.end() == last.0 { s.len + waiting } else { s.len };
        let mut all: Vec<Value> = read.iter().map(|s| segment(s.kind, s.start, grown(s), s.position)).collect();
        if waiting > 0 && read.last().is_none_or(|s| s.kind != Kind::Text) {
            all.push(segment(Kind::Text, last.0, waiting, last.1));
        }
        all.into()
    }

    /// The ops that were timed, as JSON of `[[op, seconds, bytes]]`, in their order.
    async fn timings(&mut self) -> Result<Value> {
        let mut ops = self.session.time(None);
        if let Any::Gpu(gpu) = self.session.model().backend() {
            let times = gpu.timings().await;
            gpu.set_timing(false)?;
            let times = times?;
            if times.len() != ops.len() {
                return Err(Error::Config {
                    reason: "something else ran on the model while its ops were timed".into(),
                });
            }
            ops.iter_mut().zip(times).for_each(|((_, seconds), time)| *seconds = time);
        }
        Ok(ops.iter().map(|(op, seconds)| json!([class(op), seconds, op.bytes()])).collect())
    }

    fn append(&mut self, ids: &[u32]) -> Result<()> {
        let (vocab, context) = (self.session.model().config().vocab, u64::from(self.session.context()));
        if let Some(id) = ids.iter().find(|id| **id >= vocab) {
            return Err(Error::Tokenizer { reason: format!("token {id} is outside of the vocabulary of {vocab}") });
        }
        let tokens = u64::from(self.len()) + ids.len() as u64;
        if tokens > context {
            return Err(Error::ContextFull { tokens, context });
        }
        self.pending.extend(ids);
        Ok(())
    }

    /// Reads some of what waits, but for the last token; whether there is more.
    fn read(&mut self) -> Result<bool> {
        let take = self.pending.len().saturating_sub(1).min(PIECE);
        if take > 0 {
            self.session.read(Input::Tokens(&self.pending[..take]))?;
            self.pending.drain(..take);
        }
        Ok(self.pending.len() > 1)
    }

    /// Forgets what stands from `len` on.
    pub(crate) fn rollback(&mut self, len: u32) -> Result<()> {
        let read = self.session.tokens();
        let (to, all) = (len as usize, self.len());
        if len > all {
            return Err(Error::Rollback { to: len, nearest: all, replay: len - all });
        }
        if to > read.len() {
            self.pending.truncate(to - read.len());
            return Ok(());
        }
        // What comes after the last token is asked when it is read: again.
        let keep = if to > 0 && read[to - 1] != NO_TOKEN { to - 1 } else { to };
        let pending = read[keep..to].to_vec();
        self.session.rewind(keep as u32)?;
        self.pending = pending;
        Ok(())
    }

    /// The cache as a file, with what waits read on a copy.
    async fn save(&self) -> Result<Vec<u8>> {
        let mut copy = self.session.fork()?;
        if !self.pending.is_empty() {
            copy.read(Input::Tokens(&self.pending))?;
        }
        copy.save().await
    }
}

/// A sequence of tokens through a model.
#[wasm_bindgen]
pub struct Session {
    slot: Slot,
}

/// A session as it was.
#[wasm_bindgen]
pub struct Snapshot {
    snapshot: cache::Snapshot<Any>,
    pending: Vec<u32>,
}

/// Latents that were asked for.
#[wasm_bindgen]
pub struct Augmentation {
    job: RefCell<Job<Any>>,
    task: RefCell<Option<Task<Any>>>,
    snapshot: cache::Snapshot<Any>,
    model: Arc<model::Model<Any>>,
}

/// What an augmentation's session has read, for who makes latents.
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
        let pool = cache::Pool::of_sequences(backend, config, format, tokens, sequences)?;
        let session = session::Session::over(model.clone(), Arc::new(pool), context)?;
        session.prepare(&mut |_, _| {})?;
        Ok(Self::over(session, Vec::new()))
    }

    fn over(session: session::Session<Any>, pending: Vec<u32>) -> Self {
        Self { slot: Rc::new(RefCell::new(Some(Open { session, pending }))) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T, JsValue> {
        let mut open = self.slot.borrow_mut();
        open.as_mut().ok_or_else(busy).and_then(work).map_err(thrown)
    }

    fn take(&self) -> Result<Open, JsValue> {
        self.slot.borrow_mut().take().ok_or_else(|| thrown(busy()))
    }
}

#[wasm_bindgen]
impl Session {
    /// Every token, with 4294967295 for a latent.
    pub fn tokens(&self) -> Result<Vec<u32>, JsValue> {
        self.with(|open| Ok(open.tokens()))
    }

    /// What the session is made of; JSON of `[{kind, start, length, position}]`.
    pub fn segments(&self) -> Result<String, JsValue> {
        self.with(|open| Ok(open.segments().to_string()))
    }

    /// Times every op of the session from here on: by the device's timestamps on a GPU, by this thread's clock elsewhere.
    #[wasm_bindgen(js_name = startTiming)]
    pub fn start_timing(&self) -> Result<(), JsValue> {
        self.with(|open| {
            if let Any::Gpu(gpu) = open.session.model().backend() {
                gpu.set_timing(true)?;
            }
            open.session.time(Some(Box::new(|| now() / 1e3)));
            Ok(())
        })
    }

    /// Ends that; JSON of `[[op, seconds, bytes]]`, with the fewest bytes that an op can move.
    pub async fn timings(&self) -> Result<String, JsValue> {
        let mut open = self.take()?;
        let timed = open.timings().await;
        self.slot.replace(Some(open));
        timed.map(|ops| ops.to_string()).map_err(thrown)
    }

    /// Puts tokens behind the others, for [`read`](Self::read) to read.
    pub fn append(&self, ids: &[u32]) -> Result<(), JsValue> {
        self.with(|open| open.append(ids))
    }

    /// Reads some of what was appended; whether there is more.
    pub fn read(&self) -> Result<bool, JsValue> {
        self.with(Open::read)
    }

    /// Begins an answer to what the session holds.
    pub fn generate(&self, options: &JsOptions) -> Result<Generation, JsValue> {
        self.with(|open| {
            if open.pending.is_empty() {
                open.rollback(open.len())?;
            }
            Generation::over(&self.slot, open, options)
        })
    }

    /// Forgets what stands from `len` on.
    pub fn rollback(&self, len: u32) -> Result<(), JsValue> {
        self.with(|open| open.rollback(len))
    }

    /// Goes back to what a snapshot holds.
    #[wasm_bindgen(js_name = rollbackTo)]
    pub fn rollback_to(&self, to: &Snapshot) -> Result<(), JsValue> {
        self.with(|open| {
            open.session = open.session.fork_at(&to.snapshot)?;
            open.pending.clone_from(&to.pending);
            Ok(())
        })
    }

    pub fn snapshot(&self) -> Result<Snapshot, JsValue> {
        self.with(|open| Ok(Snapshot { snapshot: open.session.snapshot(), pending: open.pending.clone() }))
    }

    /// A second session that goes on from a snapshot.
    pub fn fork(&self, from: &Snapshot) -> Result<Session, JsValue> {
        self.with(|open| Ok(Self::over(open.session.fork_at(&from.snapshot)?, from.pending.clone())))
    }

    /// The words of what a layer remembers beside keys and values, if it does.
    pub async fn state(&self, layer: usize) -> Result<Option<Vec<u32>>, JsValue> {
        let open = self.take()?;
        let state = open.session.state(layer).await;
        self.slot.replace(Some(open));
        let words = |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        state.map(|state| state.map(words)).map_err(thrown)
    }

    /// The cache as a file.
    pub async fn save(&self) -> Result<Vec<u8>, JsValue> {
        let open = self.take()?;
        let saved = open.save().await;
        self.slot.replace(Some(open));
        saved.map_err(thrown)
    }

    /// Takes a saved cache in the place of what the session holds.
    pub async fn restore(&self, bytes: Vec<u8>) -> Result<(), JsValue> {
        let mut open = self.take()?;
        let restored = open.session.restore(bytes).await;
        if restored.is_ok() {
            open.pending.clear();
        }
        self.slot.replace(Some(open));
        restored.map_err(thrown)
    }

    /// Asks for at most `latents` latents behind what has been read.
    pub fn augment(&self, latents: u32) -> Result<Augmentation, JsValue> {
        self.with(|open| {
            let snapshot = open.session.snapshot();
            let (job, task) = Job::new(snapshot.clone(), latents);
            let (job, task) = (RefCell::new(job), RefCell::new(Some(task)));
            Ok(Augmentation { job, task, snapshot, model: open.session.model().clone() })
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
        self.with(|open| match open.session.splice(&mut augmentation.job.borrow_mut(), policy) {
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
        self.snapshot.len() + self.pending.len() as u32
    }
}

#[wasm_bindgen]
impl Augmentation {
    /// Elements of a latent.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.snapshot.pool().width()
    }

    /// What has been read, in f32.
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
