//! One sequence of tokens through a model.

use super::Model;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::{Pool, Sequence, States};
use crate::error::{Error, Result};
use crate::sample::Sampler;
use std::sync::Arc;

/// Tokens that one step reads at most: prompts are read in pieces of this.
pub const BATCH: u32 = 512;
/// Rows of logits that are computed at a time.
const LOGIT_ROWS: u32 = 32;

/// A sequence with its cache.
///
/// A step is one submission: it reads tokens, and if asked leaves the next token on the device, where the following step
/// finds it; only that one number comes back.
pub struct Session<B: Backend> {
    model: Arc<Model<B>>,
    pool: Pool<B>,
    sequence: Sequence,
    tokens: Vec<u32>,
    workspace: Workspace<B>,
    /// One bit a token of the vocabulary, for the repetition penalty.
    seen: B::Buffer,
    /// Tokens that `seen` knows of: those read, and the one that the last step chose, which the device marked itself.
    marked: usize,
    /// The id that the last step left at `workspace.ids[0]`.
    on_device: Option<u32>,
}

impl<B: Backend> Session<B> {
    /// A session with room for `context` tokens.
    ///
    /// # Errors
    /// `ContextFull` if the model was made for fewer, `OutOfMemory`.
    pub fn new(model: Arc<Model<B>>, context: u32) -> Result<Self> {
        let config = model.config();
        if context > config.context || context == 0 {
            return Err(Error::ContextFull { tokens: context.into(), context: config.context.into() });
        }
        let backend = model.backend();
        let workspace = Workspace::new(backend, config, BATCH.min(context), context, LOGIT_ROWS.min(context))?;
        let pool = Pool::new(backend, config, context)?;
        let seen = backend.alloc("seen", u64::from(config.vocab.div_ceil(32)) * 4)?;
        Ok(Self {
            workspace,
            pool,
            seen,
            sequence: Sequence::default(),
            tokens: Vec::new(),
            marked: 0,
            on_device: None,
            model,
        })
    }

    /// Compiles what reading prompts and decoding need, with `progress(done, of)`; what is left out here is compiled when
    /// it first runs.
    pub fn prepare(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        let (decoder, w) = (self.model.decoder(), &self.workspace);
        let mut ops = Vec::new();
        let mut collect = |op, _: &[Operand<'_, B>]| {
            ops.push(op);
            Ok(())
        };
        for tokens in [1, w.batch] {
            let step = Step { tokens, keys: w.context };
            decoder.layers(&mut collect, w, &self.pool, &step)?;
            decoder.logits(&mut collect, w, tokens, 1)?;
        }
        self.model.backend().prepare(&ops, progress)
    }

    /// Tokens that the session has room for.
    pub fn context(&self) -> u32 {
        self.workspace.context
    }

    /// Every token read so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub fn model(&self) -> &Arc<Model<B>> {
        &self.model
    }

    /// Forgets the tokens from `len` on.
    ///
    /// A state of the delta rule can't forget: where a model has them, all tokens are read anew before the next.
    pub fn truncate(&mut self, len: u32) {
        let forgets = len < self.sequence.len() && States::<B>::needed(self.model.config());
        self.sequence.truncate(&mut self.pool, if forgets { 0 } else { len });
        self.tokens.truncate(len as usize);
        self.marked = 0;
        self.on_device = None;
    }

    /// Reads `tokens` and returns the token that `sampler` chooses after them.
    ///
    /// # Errors
    /// `EmptyPrompt` for no tokens, `ContextFull` if they do not fit: then nothing was read. After an error of the device
    /// the session is as it was before the call.
    pub async fn next(&mut self, tokens: &[u32], sampler: &mut Sampler) -> Result<u32> {
        let before = self.tokens.len() as u32;
        let result = self.read(tokens, sampler).await;
        if result.is_err() {
            self.truncate(before);
        }
        result
    }

    async fn read(&mut self, tokens: &[u32], sampler: &mut Sampler) -> Result<u32> {
        self.admit(tokens)?;
        let model = self.model.clone();
        let (backend, vocab) = (model.backend(), model.config().vocab);
        let penalised = sampler.settings().repetition_penalty != 1.0;
        let known = tokens.len() == 1 && self.on_device == Some(tokens[0]) && self.marked == self.tokens.len() + 1;
        if penalised && !known {
            self.mark(tokens)?;
        }
        self.catch_up()?;
        let pieces = tokens.chunks(self.workspace.batch as usize);
        let last = pieces.len() - 1;
        for (i, piece) in pieces.enumerate() {
            self.step(piece)?;
            if i == last {
                let mut to = |op, operands: &[Operand<'_, B>]| backend.run(&op, operands);
                model.decoder().logits(&mut to, &self.workspace, piece.len() as u32, 1)?;
                let spec = sampler.next(vocab);
                let mut operands = vec![Operand::new(&self.workspace.logits)];
                if spec.penalty != 1.0 {
                    operands.push(Operand::new(&self.seen));
                }
                operands.push(Operand::new(&self.workspace.ids));
                to(spec.into(), &operands)?;
            } else {
                backend.submit()?;
            }
        }
        self.on_device = None;
        let bytes = backend.download(&self.workspace.ids, 0, 4).await?;
        let id = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.on_device = Some(id);
        self.marked = if penalised { self.tokens.len() + 1 } else { 0 };
        Ok(id)
    }

    /// Reads `tokens` and gives the logits after each of them, `[rows, vocab]` at a time.
    ///
    /// # Errors
    /// As [`next`](Session::next).
    pub async fn logits(&mut self, tokens: &[u32], mut rows: impl FnMut(&[f32])) -> Result<()> {
        self.admit(tokens)?;
        let model = self.model.clone();
        let (backend, vocab) = (model.backend(), u64::from(model.config().vocab));
        self.catch_up()?;
        for piece in tokens.chunks(LOGIT_ROWS.min(self.workspace.batch) as usize) {
            self.step(piece)?;
            let mut to = |op, operands: &[Operand<'_, B>]| backend.run(&op, operands);
            model.decoder().logits(&mut to, &self.workspace, piece.len() as u32, piece.len() as u32)?;
            let bytes = backend.download(&self.workspace.logits, 0, piece.len() as u64 * vocab * 4).await?;
            rows(&bytemuck::pod_collect_to_vec::<u8, f32>(&bytes));
        }
        Ok(())
    }

    /// The negative log-probability of each token but the first, in nats.
    pub async fn score(&mut self, tokens: &[u32]) -> Result<Vec<f64>> {
        let vocab = self.model.config().vocab as usize;
        let (mut losses, mut targets) = (Vec::new(), tokens.iter().skip(1));
        let score = |logits: &[f32]| {
            for (row, &target) in logits.chunks_exact(vocab).zip(targets.by_ref()) {
                let max = row.iter().copied().fold(f32::MIN, f32::max);
                let sum: f64 = row.iter().map(|&z| f64::from(z - max).exp()).sum();
                losses.push(sum.ln() - f64::from(row[target as usize] - max));
            }
        };
        self.logits(tokens, score).await?;
        Ok(losses)
    }

    /// Refuses what cannot be read, before anything changes.
    fn admit(&self, tokens: &[u32]) -> Result<()> {
        let vocab = self.model.config().vocab;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let total = self.tokens.len() as u64 + tokens.len() as u64;
        if total > self.workspace.context.into() {
            return Err(Error::ContextFull { tokens: total, context: self.workspace.context.into() });
        }
        match tokens.iter().find(|id| **id >= vocab) {
            Some(id) => Err(Error::Tokenizer { reason: format!("token {id} is outside of the vocabulary of {vocab}") }),
            None => Ok(()),
        }
    }

    /// Reads again what the states have not seen since the session went back.
    fn catch_up(&mut self) -> Result<()> {
        let known = self.sequence.len() as usize;
        if known == self.tokens.len() {
            return Ok(());
        }
        self.on_device = None;
        let again = self.tokens.split_off(known);
        let mut pieces = again.chunks(self.workspace.batch as usize);
        let result = pieces.try_for_each(|piece| {
            self.step(piece)?;
            self.model.backend().submit()
        });
        if result.is_err() {
            // All of it is still to be read.
            self.sequence.truncate(&mut self.pool, 0);
            self.tokens.truncate(known);
            self.tokens.extend(&again);
        }
        result
    }

    /// Records the layers over one piece.
    fn step(&mut self, piece: &[u32]) -> Result<()> {
        let model = self.model.clone();
        let backend = model.backend();
        let tokens = piece.len() as u32;
        let state = States::<B>::needed(model.config()).then_some(self.sequence.state());
        if let (Some(slot), true) = (state, self.sequence.is_empty()) {
            self.pool.states().clear(backend, slot)?;
        }
        let (positions, slots) = self.sequence.extend(&mut self.pool, tokens)?;
        self.workspace.indices(backend, &positions, &slots, state, self.sequence.table())?;
        // The token that the last step chose is already there.
        if self.on_device.take() != Some(piece[0]) || tokens > 1 {
            backend.upload(&self.workspace.ids, 0, bytemuck::cast_slice(piece))?;
        }
        self.tokens.extend(piece);
        let mut to = |op, operands: &[Operand<'_, B>]| backend.run(&op, operands);
        let step = Step { tokens, keys: self.sequence.len() };
        model.decoder().layers(&mut to, &self.workspace, &self.pool, &step)
    }

    /// Marks tokens for the repetition penalty: all that the session has read, and `more`.
    fn mark(&self, more: &[u32]) -> Result<()> {
        let mut bits = vec![0u32; self.model.config().vocab.div_ceil(32) as usize];
        self.tokens.iter().chain(more).for_each(|&id| bits[id as usize / 32] |= 1 << (id % 32));
        self.model.backend().upload(&self.seen, 0, bytemuck::cast_slice(&bits))
    }
}
