//! Splices the latents of a coprocessor into a session.
//!
//! A splice at the snapshot is exact: the sequence resumes from the snapshot, reads the latents, then re-reads the
//! tokens that were decoded since. A splice at the tail costs no re-reading and does not change decoded tokens.
//!
//! The paper leaves open where latents are read and whether they are scaled. Here they are read behind the final norm,
//! unscaled.

use super::{Input, Session};
use crate::backend::Backend;
use crate::cache::{Kind, NO_TOKEN, Snapshot};
use crate::coprocessor::{Job, Policy, Splice};
use crate::error::{Error, Result};
use std::sync::Arc;

impl<B: Backend> Session<B> {
    /// Takes a job's latents into the sequence if they are there, and if the sequence still has the snapshot's version, or
    /// had it before what it holds now.
    ///
    /// Nothing waits, and whatever is wrong with the latents, the session is as it was.
    pub fn splice(&mut self, job: &mut Job<B>, policy: Policy) -> Splice {
        let rows = match job.take() {
            None => return Splice::Pending,
            Some(Err(error)) => return Splice::Dropped(error),
            Some(Ok(rows)) => rows,
        };
        let spliced = self.admit_job(job).and_then(|at| {
            let fresh = job.snapshot.version() == self.version();
            match policy {
                Policy::DropIfStale if !fresh => Err(self.stale(job)),
                Policy::AtSnapshot if !fresh => self.insert(&job.snapshot, at, &rows),
                _ => self.read(Input::Embeddings(Kind::Latent, &rows)),
            }
        });
        if let Err(error) = spliced {
            return Splice::Dropped(error);
        }
        let latent = self.segments().iter().rev().find(|s| s.kind == Kind::Latent);
        latent.map_or(Splice::Dropped(Error::EmptyPrompt), |segment| Splice::Spliced(segment.id))
    }

    /// Length of the sequence when the job's snapshot was taken.
    fn admit_job(&self, job: &Job<B>) -> Result<u32> {
        if !Arc::ptr_eq(&self.pool, &job.snapshot.pool) {
            return Err(Error::Config { reason: "a job over another pool".into() });
        }
        self.sequence.len_at(job.snapshot.version()).ok_or_else(|| self.stale(job))
    }

    fn stale(&self, job: &Job<B>) -> Error {
        Error::Stale { version: job.snapshot.version().number(), now: self.version().number() }
    }

    /// Reads latents behind the first `at` tokens, which are the snapshot's, and what stood there again.
    fn insert(&mut self, snapshot: &Snapshot<B>, at: u32, rows: &[f32]) -> Result<()> {
        let tail = self.tokens()[at as usize..].to_vec();
        if tail.contains(&NO_TOKEN) {
            return Err(Error::Embeddings {
                reason: "embeddings stand behind the snapshot, which are not kept".into(),
            });
        }
        let before = std::mem::replace(&mut self.sequence, snapshot.sequence.clone());
        self.changed();
        let mut inserted = self.read(Input::Embeddings(Kind::Latent, rows));
        inserted = inserted.and_then(|()| self.read(Input::Tokens(&tail)));
        if inserted.is_err() {
            self.sequence = before;
            self.changed();
        }
        inserted
    }
}
