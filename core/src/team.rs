//! Fork-join over threads with little delay: a decoded token is some 300 parallel sections of a few microseconds each.
//!
//! Waking a thread through the system costs as much as such a section. A thread that was called therefore spins for
//! [`PATIENCE`] and joins the next section without a system call; after that it returns to rayon, which owns the
//! threads, and sleeps.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
#[cfg(not(target_arch = "wasm32"))]
use std::time::{Duration, Instant};

/// Time that a thread waits for the next part.
#[cfg(not(target_arch = "wasm32"))]
const PATIENCE: Duration = Duration::from_micros(500);
/// Looks at the next part that take about as long in a browser, which has no clock for us.
#[cfg(target_arch = "wasm32")]
const PATIENCE: u32 = 1 << 16;
/// Looks at the next part before the processor is offered to others in between.
const SPINS: u32 = 200;

/// The caller's thread and the workers beside it.
pub(crate) struct Team {
    pool: Pool,
    shared: Arc<Shared>,
    /// Held by the caller whose part runs.
    caller: Mutex<()>,
}

#[cfg(not(target_arch = "wasm32"))]
type Pool = rayon::ThreadPool;

#[cfg(not(target_arch = "wasm32"))]
fn pool(workers: usize) -> Option<Pool> {
    let name = |i| format!("foveate-{i}");
    rayon::ThreadPoolBuilder::new().num_threads(workers).thread_name(name).build().ok()
}

/// In a browser, whose workers are started from outside, all teams have the same.
#[cfg(target_arch = "wasm32")]
type Pool = &'static rayon::ThreadPool;

#[cfg(target_arch = "wasm32")]
fn pool(_workers: usize) -> Option<Pool> {
    browser::POOL.get()
}

/// Threads that workers of a browser lend.
#[cfg(target_arch = "wasm32")]
pub(crate) mod browser {
    use std::sync::{Mutex, OnceLock, PoisonError};

    pub(super) static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    static WAITING: Mutex<Vec<rayon::ThreadBuilder>> = Mutex::new(Vec::new());

    /// Makes room for `workers` threads, each of which waits for a worker that calls [`lend`].
    pub(crate) fn expect(workers: usize) {
        let later = |thread| {
            WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            Ok(())
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).spawn_handler(later).build();
        if let Ok(pool) = pool {
            // Whoever came first has made room.
            let _ = POOL.set(pool);
        }
    }

    /// Runs a thread that is expected, for as long as there is a pool.
    pub(crate) fn lend() {
        let thread = WAITING.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(thread) = thread {
            thread.run();
        }
    }
}

type Body = dyn Fn(usize) + Sync;

/// The task of a part; the caller keeps the body alive until it has run.
#[derive(Clone, Copy)]
struct Part {
    body: *const Body,
    tasks: usize,
}

struct Shared {
    /// Goes up when a part begins and when it ends: odd while one runs.
    round: AtomicUsize,
    /// Workers that may be reading `part`.
    inside: AtomicUsize,
    /// Written while no part runs and nobody is inside.
    part: UnsafeCell<Part>,
    /// The next task of the part.
    next: AtomicUsize,
    /// Workers that stay for the next part.
    present: AtomicUsize,
    panicked: AtomicBool,
}

// SAFETY: `part` is written by the one caller that holds `Team::caller`, between the end of a part, when `inside` has been
// seen at 0, and the next odd `round`. Workers read it after they have counted themselves inside and seen that round. The
// body is `Sync`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Team {
    /// A team of the caller and `workers` more; none where the system starts no threads.
    pub(crate) fn new(workers: usize) -> Option<Self> {
        let pool = pool(workers)?;
        let nothing: &'static Body = &|_| {};
        let shared = Shared {
            round: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            part: UnsafeCell::new(Part { body: nothing, tasks: 0 }),
            next: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        };
        Some(Self { pool, shared: Arc::new(shared), caller: Mutex::new(()) })
    }

    /// Threads of the team, the caller's included.
    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads() + 1
    }

    /// Calls `body` with every number below `tasks`. Tasks are taken in order, one by one: an op puts its longest first.
    ///
    /// A part inside of a part, or beside that of another caller, runs on its caller's thread alone.
    pub(crate) fn run(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        let _caller = match self.caller.try_lock() {
            Ok(caller) => caller,
            // A task has panicked before: its part has ended all the same.
            Err(TryLockError::Poisoned(caller)) => caller.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(body),
        };
        let shared = &*self.shared;
        shared.panicked.store(false, Ordering::Relaxed);
        let wanted = self.pool.current_num_threads().min(tasks.saturating_sub(1));
        while shared.present.load(Ordering::Relaxed) < wanted {
            shared.present.fetch_add(1, Ordering::Relaxed);
            let shared = self.shared.clone();
            self.pool.spawn(move || shared.stay());
        }
        // SAFETY: only the lifetime changes; the part ends before this function returns or unwinds.
        let part: &'static Body = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Body>(body) };
        // SAFETY: no part runs and nobody is inside: the last part's end has waited for that.
        unsafe { *shared.part.get() = Part { body: part, tasks } };
        shared.next.store(0, Ordering::Relaxed);
        shared.round.fetch_add(1, Ordering::SeqCst);
        let end = End(shared);
        shared.work(body, tasks);
        drop(end);
        if shared.panicked.load(Ordering::Relaxed) {
            resume_unwind(Box::new("a task on another thread panicked"));
        }
    }
}

/// Ends a part, also where the caller's own task panics.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        if std::thread::panicking() {
            shared.next.store(usize::MAX / 2, Ordering::Relaxed);
        }
        // A worker counts itself inside before it looks at the round again: it is seen here, or sees that the round is over.
        shared.round.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while shared.inside.load(Ordering::SeqCst) > 0 {
            pause(&mut spins);
        }
    }
}

/// Waits a moment, for longer moments after many.
fn pause(spins: &mut u32) {
    *spins = spins.saturating_add(1);
    match *spins < SPINS {
        true => std::hint::spin_loop(),
        false => std::thread::yield_now(),
    }
}

impl Shared {
    fn work(&self, body: &(dyn Fn(usize) + Sync), tasks: usize) {
        loop {
            match self.next.fetch_add(1, Ordering::Relaxed) {
                task if task < tasks => body(task),
                _ => break,
            }
        }
    }

    /// Joins parts as they come, until none has come for `PATIENCE`; the thread then sleeps.
    fn stay(&self) {
        let (mut last, mut spins) = (0, 0);
        #[cfg(not(target_arch = "wasm32"))]
        let mut since = Instant::now();
        loop {
            let round = self.round.load(Ordering::Acquire);
            if round % 2 == 1 && round != last {
                self.join(round);
                (last, spins) = (round, 0);
                #[cfg(not(target_arch = "wasm32"))]
                {
                    since = Instant::now();
                }
            }
            pause(&mut spins);
            #[cfg(not(target_arch = "wasm32"))]
            let late = spins % 64 == 0 && since.elapsed() > PATIENCE;
            #[cfg(target_arch = "wasm32")]
            let late = spins > PATIENCE;
            if late {
                break;
            }
        }
        self.present.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes part in `round`, unless it is over.
    fn join(&self, round: usize) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        if self.round.load(Ordering::SeqCst) == round {
            // SAFETY: the round's caller waits until nobody is inside before it goes on.
            let (body, tasks) = unsafe {
                let part = *self.part.get();
                (&*part.body, part.tasks)
            };
            if catch_unwind(AssertUnwindSafe(|| self.work(body, tasks))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn parts_run_every_task_once() {
        let team = Team::new(3).unwrap();
        for round in 0..2000 {
            let counts: Vec<AtomicU32> = (0..round % 37).map(|_| AtomicU32::new(0)).collect();
            team.run(counts.len(), &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{round}");
            if round % 500 == 0 {
                // Long enough for the workers to go away.
                std::thread::sleep(3 * PATIENCE);
            }
        }
    }

    #[test]
    fn parts_may_nest_and_have_several_callers() {
        let team = Team::new(2).unwrap();
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        team.run(5, &|_| {
                            team.run(3, &|_| {
                                count.fetch_add(1, Ordering::Relaxed);
                            })
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 4 * 200 * 15);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(2).unwrap();
        for task in [0, 40, 99] {
            let run = || team.run(100, &|i| assert_ne!(i, task));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            let sum = AtomicUsize::new(0);
            team.run(100, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
        // Tasks that panic on the caller's thread and beside it are one panic, and the threads still come afterwards.
        assert!(catch_unwind(AssertUnwindSafe(|| team.run(3, &|i| panic!("{i}")))).is_err());
        let threads = Mutex::new(HashSet::new());
        let start = Instant::now();
        while threads.lock().unwrap().len() < 2 && start.elapsed() < Duration::from_secs(10) {
            team.run(3, &|_| {
                threads.lock().unwrap().insert(std::thread::current().id());
                std::thread::sleep(Duration::from_millis(1));
            });
        }
        assert!(threads.into_inner().unwrap().len() > 1);
    }
}
