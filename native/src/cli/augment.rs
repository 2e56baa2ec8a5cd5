//! A coprocessor on a thread beside the decoder.

use super::ModelArguments;
use clap::Args;
use foveate::Any;
use foveate::cache::PAGE;
use foveate::coprocessor::{Job, Policy, Splice, Task, overlay};
use foveate::model::{Files, Model};
use foveate::session::Session;
use foveate::session::SoftTokens;
use foveate::{Error, Result, wait};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

#[derive(Args)]
pub(super) struct AugmentArguments {
    /// A coprocessor's file (safetensors). Its latents are appended to the sequence as soon as they are computed.
    #[arg(long, value_name = "FILE")]
    pub(super) coprocessor: Option<PathBuf>,
    /// Maximum number of latents of one augmentation.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "coprocessor")]
    latents: u32,
    /// When latents are requested: `prompt-end`, or `every:K` for the end of the prompt and every K tokens after it.
    #[arg(long, value_name = "WHEN", default_value = "prompt-end", value_parser = when, requires = "coprocessor")]
    augment_at: When,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    PromptEnd,
    Every(u64),
}

fn when(text: &str) -> std::result::Result<When, String> {
    let every = text.strip_prefix("every:").and_then(|k| k.parse::<u64>().ok()).filter(|k| *k > 0);
    match (text, every) {
        ("prompt-end", _) => Ok(When::PromptEnd),
        (_, Some(k)) => Ok(When::Every(k)),
        _ => Err("prompt-end, or every:K with a K of at least 1".into()),
    }
}

impl AugmentArguments {
    /// Tokens that latents may take in a text of `tokens`, and pages' worth that the coprocessor works in.
    pub(super) fn room(&self, tokens: u64) -> (u64, u64) {
        if self.coprocessor.is_none() {
            return (0, 0);
        }
        let times = match self.augment_at {
            When::PromptEnd => 1,
            When::Every(k) => 1 + tokens / k,
        };
        let latents = u64::from(self.latents);
        (latents.saturating_mul(times), latents + 3 * u64::from(PAGE))
    }

    /// Opens the coprocessor, if one was asked for, and starts its thread.
    pub(super) fn start(&self, model: &Arc<Model<Any>>, arguments: &ModelArguments) -> Result<Option<Augmenter>> {
        let Some(path) = &self.coprocessor else { return Ok(None) };
        let files = foveate::open(&arguments.model)?;
        let file = foveate::checkpoint(path)?;
        let soft = wait(SoftTokens::<Any>::read(&file, model.config().dim))?;
        let files = Files { weights: wait(overlay(files.weights, file))?, ..files };
        let mut report = |_| Ok(());
        let changed = match model.backend() {
            // The decoder's threads stay its own.
            Any::Host(_) => wait(Model::load(arguments.device.one_thread()?, files, &mut report))?,
            _ => wait(model.load_on_same_backend(files, &mut report))?,
        };
        let mut coprocessor = SoftTokens::new(Arc::new(changed), soft)?;
        let (work, tasks) = mpsc::channel::<(Task<Any>, Clock)>();
        std::thread::spawn(move || {
            for (task, ready) in tasks {
                wait(task.run(&mut coprocessor));
                *ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
        let (latents, when) = (self.latents, self.augment_at);
        Ok(Some(Augmenter { work, latents, when, began: Instant::now(), asked: None, log: Vec::new() }))
    }
}

/// When a job was ready.
type Clock = Arc<Mutex<Option<Instant>>>;

/// Asks for latents, and takes them in when they are there.
pub(super) struct Augmenter {
    work: mpsc::Sender<(Task<Any>, Clock)>,
    latents: u32,
    when: When,
    began: Instant,
    asked: Option<Asked>,
    log: Vec<Value>,
}

struct Asked {
    job: Job<Any>,
    at: usize,
    when: Instant,
    ready: Clock,
}

impl Augmenter {
    /// Between two tokens, `made` of which there are.
    pub(super) fn step(&mut self, session: &mut Session<Any>, made: u64) {
        if let Some(mut asked) = self.asked.take() {
            match session.splice(&mut asked.job, Policy::AtTail) {
                Splice::Pending => self.asked = Some(asked),
                Splice::Spliced(_) => {
                    let end = session.segments().last().map_or(0, |s| s.end());
                    self.note(&asked, "spliced", json!({ "spliced_at": end }));
                }
                Splice::Dropped(error) => self.note(&asked, "dropped", json!({ "reason": error.to_string() })),
            }
        }
        let due = match self.when {
            When::PromptEnd => made == 1,
            When::Every(k) => made % k == 1 % k,
        };
        let room = session.context() as usize - session.tokens().len();
        if due && self.asked.is_none() && room > self.latents as usize {
            let (job, task) = Job::new(session.snapshot(), self.latents);
            let ready = Clock::default();
            // Where the thread is gone, the task is dropped, and the job with it.
            let _ = self.work.send((task, ready.clone()));
            self.asked = Some(Asked { job, at: session.tokens().len(), when: Instant::now(), ready });
        }
    }

    /// Reports the outcome of every augmentation; unfinished ones are not waited for.
    pub(super) fn report(mut self) -> Value {
        if let Some(asked) = self.asked.take() {
            asked.job.cancel();
            self.note(&asked, "pending", json!({}));
        }
        Value::Array(self.log)
    }

    fn note(&mut self, asked: &Asked, outcome: &str, mut more: Value) {
        let ms = |at: Instant| (at - self.began).as_secs_f64() * 1e3;
        let ready = *asked.ready.lock().unwrap_or_else(PoisonError::into_inner);
        more["asked_at"] = asked.at.into();
        more["asked_ms"] = ms(asked.when).into();
        more["ready_ms"] = ready.map(ms).into();
        more["outcome"] = outcome.into();
        more["outcome_ms"] = ms(Instant::now()).into();
        self.log.push(more);
    }
}

/// Refuses numbers that leave no room, before anything is loaded.
pub(super) fn check(arguments: &AugmentArguments) -> Result<()> {
    match arguments.coprocessor.is_some() && arguments.latents == 0 {
        true => Err(Error::Usage { reason: "--latents must be at least 1".into() }),
        false => Ok(()),
    }
}
