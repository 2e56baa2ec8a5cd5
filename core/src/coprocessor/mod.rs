//! Coprocessors: what reads a snapshot of a cache and gives latent embeddings, later and elsewhere.
//!
//! The decoder never waits for one. A [`Job`] is asked whether its latents are there; if they are, a session
//! [`splice`](crate::session::Session::splice)s them into its sequence. A job that fails, is cancelled, panics or never ends
//! leaves the session as it is, and so its output as without a coprocessor, bit for bit.
//!
//! Source: Differentiable Cache Augmentation (Liu et al., 2412.17747).

mod changes;
mod packed;

pub use changes::overlay;
pub use packed::{Layout, Trace, packed_augment};

use crate::backend::Backend;
use crate::cache::{SegmentId, Snapshot};
use crate::error::{Error, Result};
use crate::send::MaybeSend;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tensor of soft tokens in a coprocessor's file, `[N, dim]` in f32.
pub(crate) const SOFT_TOKENS: &str = "soft_tokens";

/// Reads a snapshot and gives latents.
pub trait Coprocessor<B: Backend>: MaybeSend {
    /// At most `latents` rows of the model's width, `[latents, dim]`: what the model's first layer takes in the place of
    /// embeddings, after the family's scale and before learned positions. None is an answer as well.
    ///
    /// A long one looks at `cancel` now and then and ends with `Cancelled`.
    fn augment(
        &mut self,
        snapshot: &Snapshot<B>,
        latents: u32,
        cancel: &Cancel,
    ) -> impl Future<Output = Result<Vec<f32>>> + MaybeSend;
}

/// Cancels a job, and tells a coprocessor that its job was cancelled.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Cancels the job that holds this handle or a clone of it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// # Errors
    /// `Cancelled`, once it is.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Where latents are spliced in if the sequence has grown since the snapshot. The sequence must contain the snapshot's
/// version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Policy {
    /// Behind the last token, at the positions that follow it. What was decoded meanwhile stays as it is.
    AtTail,
    /// Behind the snapshot, at the positions that follow it. What was decoded meanwhile is read again behind the latents,
    /// at positions that many later: as if they had been there at once. It costs reading those tokens.
    AtSnapshot,
    /// Nowhere.
    DropIfStale,
}

/// The outcome of a job's latents.
#[derive(Clone, PartialEq, Debug)]
pub enum Splice {
    /// They are not there yet.
    Pending,
    /// They are a segment of the sequence.
    Spliced(SegmentId),
    /// They are gone, and the sequence is as it was: `Stale`, `Cancelled`, `Embeddings` for latents that are none or not
    /// finite, or what the coprocessor or the device failed with.
    Dropped(Error),
}

#[derive(Default)]
struct Shared {
    /// `None` until there is an outcome, and again when it was taken.
    outcome: Mutex<Option<Result<Vec<f32>>>>,
}

impl Shared {
    fn outcome(&self) -> MutexGuard<'_, Option<Result<Vec<f32>>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Latents that were asked for.
pub struct Job<B: Backend> {
    pub(crate) snapshot: Snapshot<B>,
    cancel: Cancel,
    shared: Arc<Shared>,
    taken: bool,
}

/// A job's other end, for whoever runs the coprocessor: a thread, a queue, a worker.
pub struct Task<B: Backend> {
    snapshot: Snapshot<B>,
    latents: u32,
    cancel: Cancel,
    shared: Arc<Shared>,
}

impl<B: Backend> Job<B> {
    /// Asks for at most `latents` latents behind a snapshot. Nothing runs until the task does.
    pub fn new(snapshot: Snapshot<B>, latents: u32) -> (Self, Task<B>) {
        let (cancel, shared) = (Cancel::default(), Arc::<Shared>::default());
        let task = Task { snapshot: snapshot.clone(), latents, cancel: cancel.clone(), shared: shared.clone() };
        (Self { snapshot, cancel, shared, taken: false }, task)
    }

    /// The job will give nothing. A second time changes nothing.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// True if the job has finished, and its latents can be spliced or dropped.
    pub fn is_done(&self) -> bool {
        self.cancel.is_cancelled() || self.taken || self.shared.outcome().is_some()
    }

    /// The outcome, once.
    pub(crate) fn take(&mut self) -> Option<Result<Vec<f32>>> {
        if self.taken || self.cancel.is_cancelled() {
            self.taken = true;
            return Some(Err(Error::Cancelled));
        }
        let outcome = self.shared.outcome().take();
        self.taken = outcome.is_some();
        outcome
    }
}

impl<B: Backend> Task<B> {
    /// Runs the coprocessor and leaves the outcome for the job.
    pub async fn run(self, coprocessor: &mut impl Coprocessor<B>) {
        let outcome = match self.cancel.check() {
            Ok(()) => coprocessor.augment(&self.snapshot, self.latents, &self.cancel).await,
            Err(cancelled) => Err(cancelled),
        };
        let most = u64::from(self.latents) * u64::from(self.snapshot.pool().width());
        let outcome = outcome.and_then(|rows| match rows.len() as u64 <= most {
            true => Ok(rows),
            false => Err(Error::Embeddings { reason: format!("{} elements, {most} were asked for", rows.len()) }),
        });
        self.shared.outcome().get_or_insert(outcome);
    }
}

impl<B: Backend> Drop for Task<B> {
    /// A task that ended otherwise, by a panic among them, has failed.
    fn drop(&mut self) {
        let failed = || Err(Error::Coprocessor { reason: "it ended without an answer".into() });
        // Taken already, there is nobody to tell.
        self.shared.outcome().get_or_insert_with(failed);
    }
}
