//! One sequence of tokens through a model.

mod batch;
mod branch;
mod buffered;
mod observe;
mod read;
mod rows;
mod saved;
mod score;
mod soft_tokens;
mod splice;
mod timing;

pub use batch::{Batch, Turn};
pub use buffered::{Buffered, BufferedSnapshot, Span};
pub use observe::{Observed, Observer};
pub use score::Windows;
pub use soft_tokens::SoftTokens;
pub use timing::{Clock, op_class};

use crate::backend::{Backend, Operand};
use crate::cache::{CHECKPOINT, Kind, Pool, Segment, Sequence, Version};
use crate::config::BATCH;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::workspace::{Step, Workspace};
use crate::sample::Sampler;
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use std::sync::Arc;

/// Rows of logits that are computed at a time.
const LOGIT_ROWS: u32 = 32;

/// A sequence with its cache.
///
/// A step is one submission: it reads tokens, and if asked leaves the next token on the device, where the following step
/// finds it; only that one number comes back.
///
/// Sessions that were forked from one another share what a step works in: on several threads they take turns.
pub struct Session<B: Backend> {
    model: Arc<Model<B>>,
    pool: Arc<Pool<B>>,
    sequence: Sequence,
    workspace: Workspace<B>,
    /// One bit a token of the vocabulary, for the repetition penalty.
    seen: B::Buffer,
    /// The tokens that `seen` marks: the number of tokens that were read, and the one that the last step chose, which
    /// the device marked itself.
    marked: Option<(usize, u32)>,
    /// The id that the last step left at `workspace.ids[0]`.
    on_device: Option<u32>,
    observer: Option<Box<dyn Observer<B>>>,
    timing: timing::Timing,
    /// Tokens between two checkpoints at least, where the model has states.
    interval: u32,
    /// The last checkpoint is for a step that is being checked, not for a later rollback.
    checking: bool,
}

/// The input of a session.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// Tokens of the vocabulary.
    Tokens(&'a [u32]),
    /// Vectors `[tokens, dim]` for the first layer in place of token embeddings: after the family's scale, before
    /// learned positions are added. All must be finite. The kind must not be `Text`.
    Embeddings(Kind, &'a [f32]),
}

/// The target of a rollback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RollbackTarget {
    /// A number of tokens.
    Len(u32),
    /// A version that a snapshot was taken of.
    Version(Version),
}

/// A guard of a session whose tokens have [parts](Session::with_parts) of a pair of texts. Dropping it takes the parts away,
/// also where a caller drops the future that holds it.
pub(crate) struct Parts<'a, B: Backend> {
    pub(crate) session: &'a mut Session<B>,
    tokens: usize,
}

impl<B: Backend> Drop for Parts<'_, B> {
    fn drop(&mut self) {
        // If the device fails here, the next step on it fails, too.
        drop(self.session.set_parts(&vec![0; self.tokens]));
    }
}

impl<B: Backend> Session<B> {
    /// A session with room for `context` tokens, whose keys and values are kept in f32.
    ///
    /// # Errors
    /// `ContextFull` if the model was made for fewer, `OutOfMemory`.
    pub fn new(model: Arc<Model<B>>, context: u32) -> Result<Self> {
        Self::with_format(model, context, DType::F32)
    }

    /// A session with room for `context` tokens, whose keys and values are kept in `format`: f32, f16 or Q8_0. Layers that
    /// see a window have room for one sequence, for a snapshot that it has left behind, and for what goes on from that.
    ///
    /// # Errors
    /// As [`new`](Self::new); `Config` for another format, or one whose blocks are larger than a head.
    pub fn with_format(model: Arc<Model<B>>, context: u32, format: DType) -> Result<Self> {
        Self::admit_context(&model, context)?;
        let pool = Arc::new(Pool::with_windows(model.backend(), model.config(), format, context, 3)?);
        Self::in_pool(model, pool, context)
    }

    /// A session of at most `context` tokens that shares the pages of `pool` with others.
    ///
    /// # Errors
    /// As [`new`](Self::new); `Config` for a pool that was made for another model.
    pub fn in_pool(model: Arc<Model<B>>, pool: Arc<Pool<B>>, context: u32) -> Result<Self> {
        let config = model.config();
        Self::admit_context(&model, context)?;
        pool.admit(config)?;
        let backend = model.backend();
        let batch = if config.bidirectional() { context } else { config.batch(BATCH.min(context)) };
        let workspace = Workspace::new(backend, config, batch, context, LOGIT_ROWS.min(context))?;
        let seen = backend.alloc("seen", u64::from(config.vocab.div_ceil(32)) * 4)?;
        let sequence = Sequence::new(pool.holders());
        Ok(Self {
            workspace,
            sequence,
            pool,
            seen,
            marked: None,
            on_device: None,
            observer: None,
            timing: timing::Timing::default(),
            interval: CHECKPOINT,
            checking: false,
            model,
        })
    }

    /// Sets the part of a pair of texts, 0 or 1, that each token of the next step belongs to. Later steps have the same parts
    /// until the guard is dropped; then all tokens are of the first text again. Models without token types ignore parts.
    ///
    /// # Errors
    /// `Config` for more parts than a step has tokens, and for a part that the model has no type for.
    pub(crate) fn with_parts(&mut self, parts: &[u32]) -> Result<Parts<'_, B>> {
        self.set_parts(parts)?;
        Ok(Parts { session: self, tokens: parts.len() })
    }

    fn set_parts(&self, parts: &[u32]) -> Result<()> {
        let Some(types) = self.model.config().token_types else { return Ok(()) };
        let refused = |reason: String| Err(Error::Config { reason });
        if parts.len() > self.workspace.batch as usize {
            return refused(format!("{} parts for a step of {} tokens", parts.len(), self.workspace.batch));
        }
        // Models with one type have it for both texts.
        match types {
            1 => Ok(()),
            _ if parts.iter().any(|part| *part >= types) => {
                refused(format!("a token type past the {types} of the model"))
            }
            _ => self.model.backend().upload(&self.workspace.types, 0, bytemuck::cast_slice(parts)),
        }
    }

    fn admit_context(model: &Model<B>, context: u32) -> Result<()> {
        let most = model.config().context;
        match (1..=most).contains(&context) {
            true => Ok(()),
            false => Err(Error::ContextFull { tokens: context.into(), context: most.into() }),
        }
    }

    /// Compiles what reading prompts and decoding need, with `progress(done, of)`; what is left out here is compiled when
    /// it first runs.
    pub fn prepare(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        self.model.backend().prepare(&self.ops(&[1, self.workspace.batch])?, progress)
    }

    /// Returns the ops of steps of `steps` tokens.
    pub(super) fn ops(&self, steps: &[u32]) -> Result<Vec<Op>> {
        let (decoder, w) = (self.model.decoder(), &self.workspace);
        let mut ops = Vec::new();
        let mut collect = |op, _: &[Operand<'_, B>]| {
            ops.push(op);
            Ok(())
        };
        for tokens in steps.iter().copied() {
            let step = Step { tokens, keys: w.context, embedded: false, slots: &[0], observed: &[] };
            let stream = decoder.layers(&mut collect, w, &self.pool, &step, &mut |_| {})?;
            match &decoder.head {
                Some(_) => decoder.logits(&mut collect, w, stream, 1)?,
                None => drop(decoder.hidden(&mut collect, w, stream)?),
            }
        }
        Ok(ops)
    }

    /// Tokens that the session has room for.
    pub fn context(&self) -> u32 {
        self.workspace.context
    }

    /// Every token read so far, with [`NO_TOKEN`](crate::cache::NO_TOKEN) where an embedding stands.
    pub fn tokens(&self) -> &[u32] {
        self.sequence.tokens()
    }

    /// Returns the segments, in their order.
    pub fn segments(&self) -> &[Segment] {
        self.sequence.segments()
    }

    /// Returns the number of changes so far.
    pub fn version(&self) -> Version {
        self.sequence.version()
    }

    /// Returns the model.
    pub fn model(&self) -> &Arc<Model<B>> {
        &self.model
    }

    /// The pool that holds the keys and values.
    pub fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    /// Reads `tokens` and returns the token that `sampler` chooses after them.
    ///
    /// # Errors
    /// `EmptyPrompt` for no tokens, `ContextFull` or `OutOfPages` if they do not fit: then nothing was read. `NotFinite` if
    /// the logits after them hold NaN or infinity; after that, after an error of the device, and if the future is dropped
    /// before it ends, the session is as it was before the call.
    ///
    /// Natively the future blocks the thread that polls it until the device is done: on an async runtime, run it where
    /// blocking is allowed (`tokio::task::spawn_blocking`).
    pub async fn next(&mut self, tokens: &[u32], sampler: &mut Sampler) -> Result<u32> {
        self.next_after(Input::Tokens(tokens), sampler).await
    }

    /// As [`next`](Self::next), after tokens or embeddings.
    pub async fn next_after(&mut self, input: Input<'_>, sampler: &mut Sampler) -> Result<u32> {
        self.stretch(input)?;
        let step = read::Unfinished::new(self);
        let id = step.session.choose(input, sampler).await?;
        step.finish();
        Ok(id)
    }

    /// Reads `tokens` in one step and returns the token that `sampler` chooses behind each of them, as if the tokens in front
    /// of it had been chosen one by one. What follows a token that was chosen otherwise means nothing.
    ///
    /// # Errors
    /// As [`next`](Self::next), for the first token; `Config` for more than [`most_chosen`](Self::most_chosen).
    pub(crate) async fn next_each(&mut self, tokens: &[u32], sampler: &mut Sampler) -> Result<Vec<u32>> {
        self.checkpoint_to_check();
        let step = read::Unfinished::new(self);
        let ids = step.session.choose_each(tokens, sampler).await?;
        step.finish();
        Ok(ids)
    }

    /// Tokens that one step chooses at most.
    pub(crate) fn most_chosen(&self) -> u32 {
        LOGIT_ROWS.min(self.workspace.batch)
    }

    /// Tokens that the session has room for beside those that it holds.
    pub fn room(&self) -> u32 {
        // Positions may run ahead of tokens where a segment was taken out; both have to fit.
        self.context().saturating_sub(self.sequence.next_position().max(self.sequence.len()))
    }

    /// Tokens that one step reads at most.
    pub fn step_tokens(&self) -> u32 {
        self.workspace.batch
    }

    /// Waits until the device has done what was recorded so far.
    ///
    /// # Errors
    /// Errors of the device.
    pub async fn wait(&self) -> Result<()> {
        self.model.backend().download(&self.workspace.ids, 0, 4).await.map(drop)
    }

    /// Reads without asking what follows. What was recorded is submitted.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn read(&mut self, input: Input<'_>) -> Result<()> {
        self.stretch(input)?;
        let before = self.version();
        let result = self.admit(input).and_then(|()| self.steps(input));
        if result.is_err() {
            self.undo(before);
        }
        result
    }

    fn steps(&mut self, input: Input<'_>) -> Result<()> {
        let (model, batch) = (self.model.clone(), self.workspace.batch);
        self.pieces(input, batch, |_, _, _| model.backend().submit())
    }

    /// Reads `tokens` again after an error, to restore the cache.
    fn reread(&mut self, tokens: &[u32]) -> Result<()> {
        self.steps(Input::Tokens(tokens))
    }
}
