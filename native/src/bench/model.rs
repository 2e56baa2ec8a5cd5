//! A whole model: tokens a second, and which ops the time goes to.

use super::loaded::Clock;
use super::ops::PlanCost;
use super::statistics::{Effort, Spread};
use crate::error::{Error, Result};
use crate::wait;
use foveate_core::cache::{PAGE, Pool};
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::ops::Op;
use foveate_core::model::{Files, Model};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Batch, RollbackTarget, Session, Turn, op_class};
use foveate_core::{Any, Backend};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Contexts that are measured where nothing else is asked for.
const CONTEXTS: [u32; 4] = [128, 512, 1024, 2048];

/// Speed at one length of context.
#[derive(Clone, Debug, Serialize)]
pub struct At {
    /// Tokens of the prompt.
    pub context: u32,
    /// Tokens a second from the first token of the prompt to the choice of the next one.
    pub prefill: Spread,
    /// Tokens a second after that.
    pub decode: Spread,
}

/// Ops of one kind and shape.
#[derive(Clone, Debug, Serialize)]
pub struct OpTime {
    /// The name and the shape of the ops.
    pub op: String,
    /// Seconds a token.
    pub seconds: f64,
    /// Part of the time of all ops.
    pub share: f64,
    /// Runs for each token.
    pub runs: f64,
    /// Dispatches for each token.
    pub dispatches: f64,
    /// Least bytes moved for each token.
    pub bytes: f64,
    /// Floating-point operations for each token.
    pub flop: f64,
}

/// Speeds, and tables of ops for one of the contexts.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    /// The name of the device.
    pub device: String,
    /// The clock of the ops' times; tokens per second are by the host's clock.
    pub clock: Clock,
    /// The speeds at each length of context.
    pub speeds: Vec<At>,
    /// The context of the tables.
    pub context: u32,
    /// The ops of reading a prompt, slowest first.
    pub prefill: Vec<OpTime>,
    /// The ops of decoding a token, slowest first.
    pub decode: Vec<OpTime>,
    /// The largest number of bytes that the device held.
    pub peak_device_bytes: u64,
}

/// The measured case of a model.
#[derive(Clone, Debug)]
pub struct Case {
    /// Lengths of prompts; if empty, the usual ones that fit the model.
    pub contexts: Vec<u32>,
    /// Tokens decoded behind each prompt.
    pub tokens: u32,
    /// Sequences that are decoded together, each behind a prompt of its own.
    pub sequences: u32,
    /// Format of cached keys and values.
    pub kv: DType,
}

/// Measures a model. Rates of several sequences count the tokens of all.
///
/// # Errors
/// `Usage` for a context that the model has no room for, and whatever keeps the model from loading or running.
pub fn model(device: Any, files: Files, case: &Case, effort: Effort) -> Result<ModelReport> {
    let model = Arc::new(wait(Model::load(device, files, &mut |_| Ok(())))?);
    let tokens = case.tokens;
    let contexts = fitting(&case.contexts, tokens, model.config().context)?;
    let mut speeds = Vec::new();
    for &context in &contexts {
        let mut run = Run::new(&model, context, case)?;
        // Both come from the same runs: decoding goes on where a prompt ends.
        let mut decode = Vec::new();
        run.read()?;
        run.make()?;
        let prefill = effort.repeat(|| {
            let (read, made) = (run.read()?, run.make()?);
            decode.push(made);
            Ok(vec![read])
        })?;
        let rate = |spread: Spread, tokens: u32| spread.rate(f64::from(tokens) * f64::from(case.sequences));
        speeds.push(At { context, prefill: rate(prefill, context), decode: rate(Spread::of(decode), tokens) });
    }
    // The last context is the one of the tables.
    let context = contexts[contexts.len() - 1];
    let mut run = Run::new(&model, context, case)?;
    let device = model.backend();
    run.read()?;
    let prefill = table(device, run.timed(Run::read)?, context * case.sequences);
    let decode = table(device, run.timed(Run::make)?, tokens * case.sequences);
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

/// Sessions that each read one prompt and go on together, again and again.
struct Run {
    sessions: Vec<Session<Any>>,
    /// Steps of all sessions, if there are several.
    batch: Option<Batch<Any>>,
    samplers: Vec<Sampler>,
    prompt: Vec<u32>,
    tokens: u32,
    next: Vec<u32>,
}

impl Run {
    fn new(model: &Arc<Model<Any>>, context: u32, case: &Case) -> Result<Self> {
        let (room, count) = (context + case.tokens, case.sequences);
        let all = u64::from(room.next_multiple_of(PAGE)) * u64::from(count);
        let too_many = || Error::Usage { reason: format!("--sequences {count}: too many for {room} tokens each") };
        let rows = u32::try_from(all).map_err(|_| too_many())?;
        let pool = Arc::new(Pool::with_windows(model.backend(), model.config(), case.kv, rows, count)?);
        let mut sessions = Vec::new();
        for _ in 0..count {
            sessions.push(Session::in_pool(model.clone(), pool.clone(), room)?);
        }
        sessions[0].prepare(&mut |_, _| {})?;
        let batch = if count > 1 { Some(sessions[0].batch(count)?) } else { None };
        // Any tokens: what they say costs nothing.
        let vocab = u64::from(model.config().vocab);
        let prompt = (0..u64::from(context)).map(|i| ((100 + i * 37) % vocab.min(2000)) as u32).collect();
        let samplers = vec![Sampler::new(Sampling::default())?; sessions.len()];
        Ok(Self { sessions, batch, samplers, prompt, tokens: case.tokens, next: Vec::new() })
    }

    /// Seconds to read the prompts.
    fn read(&mut self) -> Result<f64> {
        for session in &mut self.sessions {
            session.rollback(RollbackTarget::Len(0))?;
        }
        let started = Instant::now();
        self.next.clear();
        for (session, sampler) in self.sessions.iter_mut().zip(&mut self.samplers) {
            self.next.push(wait(session.next(&self.prompt, sampler))?);
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Seconds to make the tokens after them.
    fn make(&mut self) -> Result<f64> {
        let started = Instant::now();
        for _ in 0..self.tokens {
            let parts = self.sessions.iter_mut().zip(&mut self.samplers).zip(&mut self.next);
            let Some(batch) = &mut self.batch else {
                for ((session, sampler), next) in parts {
                    *next = wait(session.next(&[*next], sampler))?;
                }
                continue;
            };
            let mut turns: Vec<_> =
                parts.map(|((session, sampler), next)| Turn { session, token: *next, sampler }).collect();
            let next = wait(batch.next(&mut turns))?;
            self.next = next;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Every op of `work`, with its seconds.
    ///
    /// The host runs an op when it is recorded, so the clock around that is its time. A device with timestamps writes them;
    /// on one without, every op is submitted alone and waited for, and its time includes that.
    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<f64>) -> Result<Vec<(Op, f64)>> {
        let model = self.sessions[0].model().clone();
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
        self.sessions[0].time(Some(Box::new(seconds)));
        let ran = work(self);
        let mut ops = self.sessions[0].time(None);
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
