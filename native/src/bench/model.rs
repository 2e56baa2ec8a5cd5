//! A whole model: tokens a second, and which ops the time goes to.

use super::loaded::Clock;
use super::ops::PlanCost;
use super::statistics::{Effort, Spread};
use crate::error::{Error, Result};
use crate::wait;
use foveate_core::kernels::ops::Op;
use foveate_core::model::{Files, Model};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{RollbackTarget, Session, op_class};
use foveate_core::{Any, Backend};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Contexts that are measured where nothing else is asked for.
const CONTEXTS: [u32; 4] = [128, 512, 1024, 2048];

/// Speed at one length of context.
#[derive(Clone, Debug, Serialize)]
pub struct At {
    pub context: u32,
    /// Tokens a second from the first token of the prompt to the choice of the next one.
    pub prefill: Spread,
    /// Tokens a second after that.
    pub decode: Spread,
}

/// Ops of one kind and shape.
#[derive(Clone, Debug, Serialize)]
pub struct OpTime {
    pub op: String,
    /// Seconds a token.
    pub seconds: f64,
    /// Part of the time of all ops.
    pub share: f64,
    /// Runs, dispatches and least bytes moved, for each token.
    pub runs: f64,
    pub dispatches: f64,
    pub bytes: f64,
    pub flop: f64,
}

/// Speeds, and tables of ops for one of the contexts.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    pub device: String,
    /// The clock of the ops' times; tokens per second are by the host's clock.
    pub clock: Clock,
    pub speeds: Vec<At>,
    /// The context of the tables.
    pub context: u32,
    pub prefill: Vec<OpTime>,
    pub decode: Vec<OpTime>,
    pub peak_device_bytes: u64,
}

/// Measures a model at these lengths of context (or at the usual ones that fit it), with `tokens` decoded at each.
///
/// # Errors
/// `Usage` for a context that the model has no room for, and whatever keeps the model from loading or running.
pub fn model(device: Any, files: Files, contexts: &[u32], tokens: u32, effort: Effort) -> Result<ModelReport> {
    let model = Arc::new(wait(Model::load(device, files, &mut |_| Ok(())))?);
    let contexts = fitting(contexts, tokens, model.config().context)?;
    let mut speeds = Vec::new();
    for &context in &contexts {
        let mut run = Run::new(&model, context, tokens)?;
        // Both come from the same runs: decoding goes on where a prompt ends.
        let mut decode = Vec::new();
        run.read()?;
        run.make()?;
        let prefill = effort.repeat(|| {
            let (read, made) = (run.read()?, run.make()?);
            decode.push(made);
            Ok(vec![read])
        })?;
        let rate = |spread: Spread, tokens: u32| spread.rate(tokens.into());
        speeds.push(At { context, prefill: rate(prefill, context), decode: rate(Spread::of(decode), tokens) });
    }
    // The last context is the one of the tables.
    let context = contexts[contexts.len() - 1];
    let mut run = Run::new(&model, context, tokens)?;
    let device = model.backend();
    run.read()?;
    let prefill = table(device, run.timed(Run::read)?, context);
    let decode = table(device, run.timed(Run::make)?, tokens);
    let (name, clock) = (device.describe(), Clock::of(device));
    let peak_device_bytes = device.stats().peak_bytes;
    Ok(ModelReport { device: name, clock, speeds, context, prefill, decode, peak_device_bytes })
}

fn fitting(asked: &[u32], tokens: u32, most: u32) -> Result<Vec<u32>> {
    let room = most.saturating_sub(tokens);
    if tokens == 0 || room == 0 {
        let reason = format!("--tokens must be 1 to {} for this model, got {tokens}", most.saturating_sub(1));
        return Err(Error::Usage { reason });
    }
    if let Some(wrong) = asked.iter().find(|c| !(1..=room).contains(*c)) {
        let reason = format!("--contexts must be 1 to {room} for this model with {tokens} tokens to make, got {wrong}");
        return Err(Error::Usage { reason });
    }
    let usual: Vec<u32> = CONTEXTS.into_iter().filter(|c| *c <= room).collect();
    Ok(match (asked, usual.as_slice()) {
        ([], []) => vec![room],
        ([], usual) => usual.to_vec(),
        (asked, _) => asked.to_vec(),
    })
}

/// A session that reads one prompt and goes on, again and again.
struct Run {
    session: Session<Any>,
    sampler: Sampler,
    prompt: Vec<u32>,
    tokens: u32,
    next: u32,
}

impl Run {
    fn new(model: &Arc<Model<Any>>, context: u32, tokens: u32) -> Result<Self> {
        let session = Session::new(model.clone(), context + tokens)?;
        session.prepare(&mut |_, _| {})?;
        // Any tokens: what they say costs nothing.
        let vocab = u64::from(model.config().vocab);
        let prompt = (0..u64::from(context)).map(|i| ((100 + i * 37) % vocab.min(2000)) as u32).collect();
        Ok(Self { session, sampler: Sampler::new(Sampling::default())?, prompt, tokens, next: 0 })
    }

    /// Seconds to read the prompt.
    fn read(&mut self) -> Result<f64> {
        self.session.rollback(RollbackTarget::Len(0))?;
        let started = Instant::now();
        self.next = wait(self.session.next(&self.prompt, &mut self.sampler))?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Seconds to make the tokens after it.
    fn make(&mut self) -> Result<f64> {
        let started = Instant::now();
        for _ in 0..self.tokens {
            self.next = wait(self.session.next(&[self.next], &mut self.sampler))?;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Every op of `work`, with its seconds.
    ///
    /// The host runs an op when it is recorded, so the clock around that is its time. A device with timestamps writes them;
    /// on one without, every op is submitted alone and waited for, and its time includes that.
    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<f64>) -> Result<Vec<(Op, f64)>> {
        let model = self.session.model().clone();
        let (device, clock) = (model.backend(), Clock::of(model.backend()));
        let own = match device {
            Any::Gpu(gpu) if clock == Clock::Timestamps => Some(gpu),
            _ => None,
        };
        own.map_or(Ok(()), |gpu| gpu.set_timing(true))?;
        let (began, waited, fence) = (Instant::now(), model.clone(), device.alloc("fence", 4)?);
        let seconds = move || {
            if clock == Clock::Submissions {
                // What went wrong shows with the next op.
                let _ = wait(waited.backend().download(&fence, 0, 4));
            }
            began.elapsed().as_secs_f64()
        };
        self.session.time(Some(Box::new(seconds)));
        let ran = work(self);
        let mut ops = self.session.time(None);
        if let Some(gpu) = own {
            let times = wait(gpu.timings());
            gpu.set_timing(false)?;
            ops.iter_mut().zip(times?).for_each(|((_, seconds), time)| *seconds = time);
        }
        ran.map(|_| ops)
    }
}

/// Sums by kind and shape, the longest first.
fn table(device: &Any, ops: Vec<(Op, f64)>, tokens: u32) -> Vec<OpTime> {
    let all: f64 = ops.iter().map(|(_, seconds)| seconds).sum();
    let mut rows: Vec<OpTime> = Vec::new();
    for (op, seconds) in &ops {
        let class = op_class(op);
        let index = rows.iter().position(|row| row.op == class).unwrap_or(rows.len());
        if index == rows.len() {
            let nothing =
                OpTime { op: class, seconds: 0.0, share: 0.0, runs: 0.0, dispatches: 0.0, bytes: 0.0, flop: 0.0 };
            rows.push(nothing);
        }
        let row = &mut rows[index];
        let dispatches = match device {
            Any::Host(_) => 1,
            Any::Gpu(_) => PlanCost::of(device, op).map_or(0, |cost| cost.dispatches),
        };
        let token = f64::from(tokens);
        row.seconds += seconds / token;
        row.share += if all > 0.0 { seconds / all } else { 0.0 };
        row.runs += 1.0 / token;
        row.dispatches += dispatches as f64 / token;
        row.bytes += op.bytes() as f64 / token;
        row.flop += op.kernel().flop() as f64 / token;
    }
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    rows
}
