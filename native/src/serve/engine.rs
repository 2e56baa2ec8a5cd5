//! An engine: many requests, one model, one thread that steps them together.

use super::lock;
use super::metrics::Metrics;
use super::request::{Answer, Refused, Request, Shared};
use super::schedule::Limits;
use super::worker::{Command, Job, Worker};
use crate::{Error, Model, RuntimeError};
use foveate_core::cache::{PAGE, Pool};
use foveate_core::kernels::dtype::DType;
use foveate_core::session::Session;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tokens of the cache by default, where the model could hold more.
const TOKENS: u32 = 16384;

/// Tokens of a piece of a prompt.
const PIECE: u32 = 2 * PAGE;

/// The sizes of an [`Engine`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Requests that run at a time.
    pub sequences: u32,
    /// Requests that wait at most.
    pub queue: usize,
    /// Tokens of a request at most, prompt and answer; by default the model's context, up to the size of the cache.
    pub context: Option<u32>,
    /// Tokens of the cache, of all requests together and of prefixes that are kept.
    pub tokens: Option<u32>,
    /// Tokens that a step decodes and reads of prompts.
    pub budget: u32,
    /// The format of keys and values.
    pub kv: DType,
    /// Sequences that are kept for prompts that begin alike; 0 keeps none.
    pub prefixes: usize,
    /// If true, the tokens of a sequence have the same bits in every batch, on the processor. If false, products of many
    /// sequences add in the order that is fastest, which depends on their number. A GPU ignores this.
    pub batch_invariance: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sequences: 16,
            queue: 256,
            context: None,
            tokens: None,
            budget: 256,
            kv: DType::F32,
            prefixes: 64,
            batch_invariance: true,
        }
    }
}

/// Many requests, one model: prompts are read in pieces beside the decoding of others, sequences join and leave at every
/// step, and prompts that begin alike are read once.
///
/// Handles are cheap to clone; any number of threads and tasks use them.
///
/// ```no_run
/// use foveate::serve::{Engine, Event, Options, Request};
/// use foveate::{Generation, Model};
///
/// # async fn answer() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::new(Model::open("smollm2-135m")?, Options::default())?;
/// let mut answer = engine.submit(Request::new("The capital of France is", Generation::new().max_tokens(16)))?;
/// while let Some(Event::Piece(piece)) = answer.next().await {
///     print!("{piece}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    model: Model,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    context: u32,
    queue: usize,
}

impl Engine {
    /// Starts the thread of a model.
    ///
    /// # Errors
    /// `Usage` for options out of their range, a model that reads a text in one step, or a context beyond the cache;
    /// `OutOfMemory` and other errors of making the cache.
    pub fn new(model: Model, options: Options) -> Result<Self, Error> {
        Self::prepared(model, options, &mut |_| Ok(()))
    }

    /// As [`new`](Self::new), with `prepare(session)` before the thread starts: to compile with progress.
    ///
    /// # Errors
    /// As [`new`](Self::new), and errors of `prepare`.
    pub fn prepared(
        model: Model,
        options: Options,
        prepare: &mut dyn FnMut(&crate::Session) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let usage = |reason: String| Err(Error::Usage { reason });
        let most = model.config().context;
        if model.config().bidirectional() {
            return usage(format!(
                "{} reads a text in one step: it embeds, but generates nothing",
                model.config().architecture
            ));
        }
        if options.sequences == 0 || options.queue == 0 {
            return usage("an engine needs at least one sequence, and room for one request in the queue".into());
        }
        let tokens =
            options.tokens.unwrap_or(most.saturating_mul(options.sequences).min(TOKENS.max(most.min(4 * TOKENS))));
        let context = options.context.unwrap_or(most.min(tokens));
        if !(1..=most.min(tokens)).contains(&context) {
            let most = most.min(tokens);
            return usage(format!("a context of {context} tokens, where the model and the cache hold 1 to {most}"));
        }
        // What is kept of prompts parts from the sequences that go on.
        let held = options.sequences.saturating_mul(2);
        let pool = Arc::new(Pool::with_windows(model.backend(), model.config(), options.kv, tokens, held)?);
        let root = Session::in_pool(model.shared().clone(), pool.clone(), context)?;
        prepare(&root)?;
        let step = root.step_tokens();
        let piece = if step < PAGE { step } else { (step / PAGE * PAGE).min(PIECE) };
        let limits = Limits {
            sequences: options.sequences.min(step) as usize,
            budget: options.budget.max(1),
            piece,
            page: PAGE,
            pages: pool.pages().count(),
        };
        let shared = Arc::new(Shared::default());
        shared.metrics.pages.set(u64::from(pool.pages().count()));
        let (commands, receiver) = mpsc::channel();
        let alike = if options.batch_invariance { limits.sequences } else { 0 };
        let mut worker = Worker::new(root, limits, [options.prefixes, alike], shared.clone(), receiver)?;
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || worker.run());
        let thread = thread.map_err(|error| RuntimeError::Device { reason: format!("no thread: {error}") })?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok(Self { model, commands, shared, thread, context, queue: options.queue })
    }

    /// Queues a request and returns its answer, which is made meanwhile. Blocks for as long as it takes to split the prompt
    /// into tokens.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing was queued.
    pub fn submit(&self, request: Request) -> Result<Answer, Refused> {
        let ids = request.prompt.ids(&self.model)?;
        request.options.validate()?;
        request.options.samplers.validate_ids(self.model.config().vocab)?;
        let options = &request.options;
        let refused = [
            ("speculation", options.speculate.is_some()),
            ("a reasoning budget", options.reasoning_budget.is_some()),
            ("replay", !options.replay.is_empty()),
        ];
        if let Some((name, _)) = refused.iter().find(|(_, is_set)| *is_set) {
            let reason = format!("steps that requests share and {name} do not combine: leave {name} out");
            return Err(RuntimeError::Setting { reason }.into());
        }
        let (tokens, vocab) = (ids.len() as u64, self.model.config().vocab);
        if tokens > u64::from(self.context) {
            return Err(RuntimeError::ContextFull { tokens, context: self.context.into() }.into());
        }
        if let Some(id) = ids.iter().find(|id| **id >= vocab) {
            let reason = format!("token {id} is outside of the vocabulary of {vocab}");
            return Err(RuntimeError::Tokenizer { reason }.into());
        }
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(Refused::Closed);
        }
        let room = |waiting: usize| (waiting < self.queue).then_some(waiting + 1);
        if let Err(waiting) = self.shared.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            self.shared.metrics.rejected.add(1);
            return Err(Refused::Full { waiting });
        }
        self.shared.metrics.requests.add(1);
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        let prompt_tokens = ids.len();
        let job = Job::new(ids, request, sender);
        self.commands.send(Command::Submit(Box::new(job))).map_err(|_| Refused::Closed)?;
        Ok(Answer::new(prompt_tokens, events))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens of a request at most.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// True until it stops.
    pub fn is_ready(&self) -> bool {
        !self.shared.closing.load(Ordering::Acquire)
    }

    /// Refuses new requests, ends those that are there within `patience`, cancels the rest, and waits for the thread.
    pub fn stop(&self, patience: Duration) {
        self.shared.closing.store(true, Ordering::Release);
        // The thread is gone already if nobody takes the command.
        let _ = self.commands.send(Command::Stop(Instant::now().checked_add(patience)));
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }
}
