//! The thread of an engine: it owns the sessions and steps them.

use super::prefix::Prefixes;
use super::request::{Event, Request, Shared};
use super::schedule::{Limits, Schedule, TaskId};
use crate::{RuntimeError, wait};
use foveate_core::Any;
use foveate_core::cache::Snapshot;
use foveate_core::generate::{Decode, Finish, Generation, Member, Piece, Together};
use foveate_core::session::{Buffered, RollbackTarget, Session};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// How long an idle thread sleeps before it looks whether waiting clients are gone.
const IDLE: Duration = Duration::from_secs(1);

pub(super) enum Command {
    Submit(Box<Job>),
    /// End, at this moment at the latest; without one, whenever all is done.
    Stop(Option<Instant>),
}

/// A request on its way.
pub(super) struct Job {
    /// All tokens that its sequence holds when it begins, or begins again.
    tokens: Vec<u32>,
    options: Generation,
    user: String,
    deadline: Option<Instant>,
    sender: UnboundedSender<Event>,
    /// When it came, and when its last token was there.
    since: Instant,
    last: Option<Instant>,
    /// While it runs.
    text: Option<Buffered<Any>>,
    /// The keys, values and states of a preempted sequence, in the host's memory.
    parked: Option<Vec<u8>>,
    /// From when it began first.
    decode: Option<Decode>,
}

impl Job {
    pub(super) fn new(tokens: Vec<u32>, request: Request, sender: UnboundedSender<Event>) -> Self {
        let Request { options, user, deadline, .. } = request;
        let since = Instant::now();
        Self { tokens, options, user, deadline, sender, since, last: None, text: None, parked: None, decode: None }
    }

    fn gone(&self) -> bool {
        self.sender.is_closed() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

pub(super) struct Worker {
    /// An empty session, whose memory all others work in.
    root: Session<Any>,
    together: Together<Any>,
    schedule: Schedule,
    jobs: HashMap<TaskId, Job>,
    prefixes: Prefixes<Snapshot<Any>>,
    keeps: bool,
    piece: u32,
    /// Most sequences of a decode step whose products on the processor have the bits of each alone; 0 for none.
    alike: usize,
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    /// Set once it is to stop: the moment at which it does.
    stop: Option<Option<Instant>>,
}

type Outcome = Result<Option<Piece>, RuntimeError>;

impl Worker {
    pub(super) fn new(
        root: Session<Any>,
        limits: Limits,
        [prefixes, alike]: [usize; 2],
        shared: Arc<Shared>,
        commands: Receiver<Command>,
    ) -> Result<Self, RuntimeError> {
        let together = Together::new(&Buffered::new(root.fork()?), limits.sequences as u32)?;
        Ok(Self {
            root,
            together,
            schedule: Schedule::new(limits),
            jobs: HashMap::new(),
            prefixes: Prefixes::new(limits.piece, prefixes),
            keeps: prefixes > 0,
            piece: limits.piece,
            alike,
            shared,
            commands,
            stop: None,
        })
    }

    /// Steps until it is stopped, or until all handles are gone and all is done.
    pub(super) fn run(&mut self) {
        while self.receive() {
            self.sweep();
            self.step();
            self.count();
        }
    }

    /// Takes in what was sent. Returns `false` if there is nothing more to do.
    fn receive(&mut self) -> bool {
        loop {
            let idle = self.jobs.is_empty();
            let received = match idle && self.stop.is_none() {
                true => self.commands.recv_timeout(IDLE),
                false => self.commands.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
            };
            match received {
                Ok(Command::Submit(job)) => {
                    let id = self.schedule.submit(&job.user, job.tokens.len() as u32);
                    self.jobs.insert(id, *job);
                }
                Ok(Command::Stop(at)) => self.stop = Some(at),
                Err(RecvTimeoutError::Timeout) if !idle => return self.patient(),
                Err(RecvTimeoutError::Timeout) => {
                    if self.stop.is_some() {
                        return false;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return !idle && self.patient(),
            }
        }
    }

    /// False once the time to stop has come.
    fn patient(&self) -> bool {
        self.stop.flatten().is_none_or(|at| Instant::now() < at)
    }

    /// Forgets requests whose clients are gone or whose time is over.
    fn sweep(&mut self) {
        let gone: Vec<TaskId> = self.jobs.iter().filter(|(_, job)| job.gone()).map(|(id, _)| *id).collect();
        for id in gone {
            self.shared.metrics.cancelled.add(1);
            if let Some(job) = self.remove(id) {
                let usage = job.decode.as_ref().map(Decode::usage).unwrap_or_default();
                let _ = job.sender.send(Event::End { finish: Finish::Cancelled, usage });
            }
        }
    }

    fn remove(&mut self, id: TaskId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if job.decode.is_none() && job.text.is_none() {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        self.schedule.remove(id);
        Some(job)
    }

    fn step(&mut self) {
        let step = self.schedule.step();
        self.decode(step.decode);
        for id in step.read {
            // It may have been preempted or have begun with more than was thought.
            if !self.schedule.reads(id) {
                continue;
            }
            if self.start_with_room(id) {
                self.read(id);
            }
        }
        self.shared.metrics.steps.add(1);
    }

    /// Gives a request a sequence if it has none, and makes room for what it held before. Returns whether it has one.
    fn start_with_room(&mut self, id: TaskId) -> bool {
        loop {
            match self.start(id) {
                Ok(()) => return true,
                Err(RuntimeError::OutOfPages { .. }) if self.make_room() => {
                    if !self.schedule.runs(id) {
                        return false;
                    }
                }
                Err(error) => {
                    self.fail(id, error);
                    return false;
                }
            }
        }
    }

    /// Gives a request a sequence if it has none: the one that it gave up, one behind the longest beginning that is in the
    /// cache, or an empty one.
    fn start(&mut self, id: TaskId) -> Result<(), RuntimeError> {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.text.is_none()) else { return Ok(()) };
        let session = match &job.parked {
            Some(bytes) => {
                let mut session = self.root.fork()?;
                wait(session.restore(bytes.clone()))?;
                session
            }
            None => behind_prefix(&self.root, &mut self.prefixes, &job.tokens, self.piece)?,
        };
        job.parked = None;
        let cached = session.tokens().len();
        let mut text = Buffered::new(session);
        text.append(&job.tokens[cached..])?;
        if job.decode.is_none() {
            job.decode = Some(Decode::new(&mut text, &job.options)?);
            let metrics = &self.shared.metrics;
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            metrics.prompt_tokens.add(job.tokens.len() as u64);
            metrics.cached_tokens.add(cached as u64);
            if cached > 0 { &metrics.prefix_hits } else { &metrics.prefix_misses }.add(1);
        }
        job.text = Some(text);
        self.schedule.begin(id, cached as u32);
        Ok(())
    }

    /// Reads a piece of a prompt; the last one gives the first token.
    fn read(&mut self, id: TaskId) {
        loop {
            let tokens = self.schedule.piece(id);
            let Some(Job { text: Some(text), decode: Some(decode), .. }) = self.jobs.get_mut(&id) else { return };
            let last = tokens as usize == text.pending().len();
            let outcome = match last {
                true => wait(decode.step(text)),
                false => text.read(tokens as usize).map(|_| None),
            };
            match outcome {
                Err(RuntimeError::OutOfPages { .. }) if self.make_room() => {
                    if !self.schedule.runs(id) {
                        return;
                    }
                }
                Err(error) => return self.fail(id, error),
                Ok(piece) => {
                    self.schedule.read(id, tokens);
                    if last {
                        self.keep(id);
                        self.tell(id, Ok(piece));
                    }
                    return;
                }
            }
        }
    }

    /// Generates a token of each.
    fn decode(&mut self, mut ids: Vec<TaskId>) {
        let outcomes = loop {
            let mut jobs: Vec<(TaskId, Job)> = ids.iter().filter_map(|id| Some((*id, self.jobs.remove(id)?))).collect();
            let parts = jobs.iter_mut().filter_map(|(_, job)| match (&mut job.decode, &mut job.text) {
                (Some(decode), Some(text)) => Some(Member { decode, text }),
                _ => None,
            });
            let mut members: Vec<Member<'_, Any>> = parts.collect();
            if members.is_empty() {
                self.jobs.extend(jobs);
                return;
            }
            self.shared.metrics.batch.observe_value(members.len() as f64);
            set_alike(&self.root, self.alike);
            let outcomes = wait(self.together.step(&mut members));
            // A piece of a prompt is a submission of its own in every batch, so it may use the faster packed products.
            set_alike(&self.root, 0);
            // An error of one takes the step back: each alone tells whose it is.
            let alone = |members: &mut Vec<Member<'_, Any>>| -> Vec<Outcome> {
                members.iter_mut().map(|member| wait(member.decode.step(member.text))).collect()
            };
            let outcomes = match outcomes {
                Err(RuntimeError::OutOfPages { needs, free }) => Err((needs, free)),
                Err(_) => Ok(alone(&mut members)),
                Ok(outcomes) => Ok(outcomes),
            };
            drop(members);
            self.jobs.extend(jobs);
            match outcomes {
                Ok(outcomes) => break outcomes,
                Err(_) if self.make_room() => ids.retain(|id| self.schedule.runs(*id)),
                Err((needs, free)) => {
                    break ids.iter().map(|_| Err(RuntimeError::OutOfPages { needs, free })).collect();
                }
            }
        };
        ids.into_iter().zip(outcomes).for_each(|(id, outcome)| self.tell(id, outcome));
    }

    /// Frees pages: those of the prefix that was not used for longest, or of the youngest sequence. Returns `false` if
    /// there are none to be had.
    fn make_room(&mut self) -> bool {
        if self.prefixes.evict().is_some() {
            return true;
        }
        let Some(id) = self.schedule.preempt() else { return false };
        if let Some(job) = self.jobs.get_mut(&id)
            && let Some(text) = job.text.take()
        {
            job.tokens = text.tokens();
            // Generated tokens that are read again as a prompt are summed in another order, so keys and values are saved. A
            // model without a fingerprint cannot save, and its tokens are read again.
            job.parked = wait(text.session().save()).ok();
        }
        self.shared.metrics.preempted.add(1);
        true
    }

    /// Keeps what a sequence has read, for prompts that begin alike.
    fn keep(&mut self, id: TaskId) {
        if !self.keeps {
            return;
        }
        if let Some(text) = self.jobs.get(&id).and_then(|job| job.text.as_ref()) {
            let session = text.session();
            self.prefixes.insert(session.tokens().to_vec(), session.snapshot());
        }
    }

    /// Sends a piece, and the end behind the last one.
    fn tell(&mut self, id: TaskId, outcome: Outcome) {
        let piece = match outcome {
            Ok(piece) => piece,
            Err(error) => return self.fail(id, error),
        };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(decode) = &job.decode else { return };
        let (finish, usage) = (decode.finish().cloned(), decode.usage());
        if piece.as_ref().is_some_and(|piece| piece.token.is_some()) {
            let now = Instant::now();
            match job.last.replace(now) {
                None => self.shared.metrics.first_token.observe(now - job.since),
                Some(last) => self.shared.metrics.next_token.observe(now - last),
            }
            self.shared.metrics.generated_tokens.add(1);
            self.schedule.generated(id);
        }
        // Whoever is gone is found by the sweep in front of the next step.
        if let Some(piece) = piece {
            let _ = job.sender.send(Event::Piece(piece));
        }
        if let Some(finish) = finish {
            self.keep(id);
            if let Some(job) = self.remove(id) {
                let _ = job.sender.send(Event::End { finish, usage });
            }
        }
    }

    fn fail(&mut self, id: TaskId, error: RuntimeError) {
        self.shared.metrics.failed.add(1);
        if let Some(job) = self.remove(id) {
            let _ = job.sender.send(Event::Failed(error));
        }
    }

    fn count(&self) {
        let metrics = &self.shared.metrics;
        let (_, running) = self.schedule.counts();
        metrics.waiting.set(self.shared.waiting.load(Ordering::Acquire) as u64);
        metrics.running.set(running as u64);
        metrics.prefixes.set(self.prefixes.len() as u64);
        let pages = self.root.pool().pages();
        metrics.pages_used.set(u64::from(pages.count() - pages.free()));
    }
}

/// Sets how many tokens of a step have the bits of each alone, if the processor computes.
fn set_alike(session: &Session<Any>, tokens: usize) {
    if let Any::Host(host) = session.model().backend()
        && let Some(cpu) = host.threads()
    {
        cpu.set_alike(tokens);
    }
}

/// A session behind the longest beginning of `tokens` that is in the cache, or an empty one.
fn behind_prefix(
    root: &Session<Any>,
    prefixes: &mut Prefixes<Snapshot<Any>>,
    tokens: &[u32],
    piece: u32,
) -> Result<Session<Any>, RuntimeError> {
    if let Some((len, snapshot)) = prefixes.find(&tokens[..tokens.len() - 1]) {
        let mut found = root.fork_at(snapshot)?;
        // States go back to checkpoints only, and pieces begin where they always do.
        let nearest = found.best_prefix(&tokens[..len]).len;
        let len = nearest - nearest % piece;
        if len > 0 && found.rollback(RollbackTarget::Len(len)).is_ok() {
            return Ok(found);
        }
    }
    root.fork()
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
    }
}
