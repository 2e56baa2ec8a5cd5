//! Who runs next, as plain data: no model, no clock and no thread stands behind it.
//!
//! A task waits, then reads its prompt piece by piece, then decodes a token a step. Each step decodes all that decode and
//! reads pieces of prompts within a budget of tokens, so a long prompt delays the others by one piece at a time. Tasks are
//! admitted as pages last: those of the user who was served least first (the virtual token counter of Sheng et al.,
//! "Fairness in Serving Large Language Models", 2024), and of one user the oldest. If pages run out all the same, the
//! youngest gives its pages up and waits again, at the front.

use std::collections::{BTreeMap, HashMap};

/// A task by its age: older ones have smaller numbers.
pub type TaskId = u64;

/// What bounds a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Tasks that run at a time.
    pub sequences: usize,
    /// Tokens of a step: those that are decoded, and those of prompts. A step reads at least one piece if there is one.
    pub budget: u32,
    /// Tokens of a piece of a prompt. Pieces end at multiples of it, whatever is read beside them.
    pub piece: u32,
    /// Tokens of a page.
    pub page: u32,
    /// Pages of the pool.
    pub pages: u32,
}

/// What to do in a step.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Step {
    /// Tasks that are admitted: they begin, or begin again, before they read.
    pub start: Vec<TaskId>,
    /// Tasks that read a piece of their prompt, several times those that read several.
    pub read: Vec<TaskId>,
    /// Tasks that decode a token.
    pub decode: Vec<TaskId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Waits,
    Reads,
    Decodes,
}

#[derive(Debug)]
struct Task {
    user: String,
    phase: Phase,
    /// Tokens that it holds or will hold: prompt and answer so far.
    tokens: u32,
    /// Tokens in the cache.
    done: u32,
    preempted: bool,
}

/// The tasks of an engine and what they do.
#[derive(Debug)]
pub struct Schedule {
    limits: Limits,
    tasks: BTreeMap<TaskId, Task>,
    next: TaskId,
    /// Tokens read and decoded for each user with tasks.
    served: HashMap<String, u64>,
}

impl Schedule {
    /// No tasks.
    pub fn new(limits: Limits) -> Self {
        Self { limits, tasks: BTreeMap::new(), next: 0, served: HashMap::new() }
    }

    /// Puts a prompt of so many tokens behind the others.
    pub fn submit(&mut self, user: &str, tokens: u32) -> TaskId {
        let id = self.next;
        self.next += 1;
        // Who comes anew begins beside the one that was served least, not with a credit for the time away.
        let least = self.served.values().copied().min().unwrap_or(0);
        self.served.entry(user.into()).or_insert(least);
        let task = Task { user: user.into(), phase: Phase::Waits, tokens, done: 0, preempted: false };
        self.tasks.insert(id, task);
        id
    }

    /// Returns what the next step does. The oldest prompt is read first, so that one which begins alike finds it in the
    /// cache.
    pub fn step(&mut self) -> Step {
        let start = self.admit();
        let with = |phase| self.tasks.iter().filter(move |(_, task)| task.phase == phase).map(|(id, _)| *id);
        let decode: Vec<TaskId> = with(Phase::Decodes).collect();
        let mut left = self.limits.budget.saturating_sub(decode.len() as u32);
        let mut read = Vec::new();
        'tasks: for id in with(Phase::Reads) {
            let mut done = self.tasks[&id].done;
            while done < self.tasks[&id].tokens {
                let piece = self.piece_from(&self.tasks[&id], done);
                if piece > left && !read.is_empty() {
                    break 'tasks;
                }
                left = left.saturating_sub(piece);
                done += piece;
                read.push(id);
            }
        }
        Step { start, read, decode }
    }

    fn admit(&mut self) -> Vec<TaskId> {
        let mut started = Vec::new();
        while let Some(id) = self.candidate() {
            let running = || self.tasks.values().filter(|task| task.phase != Phase::Waits);
            let pages: u64 = running().map(|task| self.pages(task)).sum();
            let count = running().count();
            let fits = pages + self.pages(&self.tasks[&id]) <= u64::from(self.limits.pages);
            if count >= self.limits.sequences || (count > 0 && !fits) {
                break;
            }
            if let Some(task) = self.tasks.get_mut(&id) {
                task.phase = Phase::Reads;
            }
            started.push(id);
        }
        started
    }

    /// The task to admit next.
    fn candidate(&self) -> Option<TaskId> {
        let waiting = self.tasks.iter().filter(|(_, task)| task.phase == Phase::Waits);
        let served = |task: &Task| self.served.get(&task.user).copied().unwrap_or(0);
        waiting.min_by_key(|(id, task)| (!task.preempted, served(task), **id)).map(|(id, _)| *id)
    }

    /// Pages of a task, with the one that it takes next.
    fn pages(&self, task: &Task) -> u64 {
        u64::from(task.tokens.div_ceil(self.limits.page)) + 1
    }

    /// Tells that a task begins with `cached` tokens in the cache.
    pub fn begin(&mut self, id: TaskId, cached: u32) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.done = cached.min(task.tokens);
        }
    }

    /// The tokens of the next piece of a task, up to a multiple of the piece or the end of its tokens.
    pub fn piece(&self, id: TaskId) -> u32 {
        self.tasks.get(&id).map_or(0, |task| self.piece_from(task, task.done))
    }

    fn piece_from(&self, task: &Task, done: u32) -> u32 {
        let end = (done / self.limits.piece + 1).saturating_mul(self.limits.piece);
        end.min(task.tokens).saturating_sub(done)
    }

    /// Tells that a task has read `tokens` of its prompt.
    pub fn read(&mut self, id: TaskId, tokens: u32) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.done = task.done.saturating_add(tokens).min(task.tokens);
        if task.done == task.tokens {
            task.phase = Phase::Decodes;
        }
        *self.served.entry(task.user.clone()).or_default() += u64::from(tokens);
    }

    /// Tells that a task has generated a token.
    pub fn generated(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.tokens = task.tokens.saturating_add(1);
        *self.served.entry(task.user.clone()).or_default() += 1;
    }

    /// Makes the youngest task that runs wait again, and returns it; `None` if it is the only one, for which there are no
    /// pages to be had from others.
    pub fn preempt(&mut self) -> Option<TaskId> {
        let mut running = self.tasks.iter_mut().rev().filter(|(_, task)| task.phase != Phase::Waits);
        let (youngest, older) = (running.next()?, running.next());
        older?;
        let (id, task) = youngest;
        (task.phase, task.done, task.preempted) = (Phase::Waits, 0, true);
        Some(*id)
    }

    /// Forgets a task.
    pub fn remove(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else { return };
        if self.tasks.values().all(|other| other.user != task.user) {
            self.served.remove(&task.user);
        }
    }

    /// True if a task runs.
    pub fn runs(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|task| task.phase != Phase::Waits)
    }

    /// True if a task has more of its prompt to read.
    pub fn reads(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|task| task.phase == Phase::Reads)
    }

    /// Tasks that wait, and that run.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.tasks.values().filter(|task| task.phase == Phase::Waits).count();
        (waiting, self.tasks.len() - waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { sequences: 4, budget: 160, piece: 128, page: 64, pages: 100 };

    /// Runs a step as an engine does, and returns it.
    fn step(schedule: &mut Schedule) -> Step {
        let step = schedule.step();
        step.start.iter().for_each(|id| schedule.begin(*id, 0));
        for id in &step.read {
            schedule.read(*id, schedule.piece(*id));
        }
        step.decode.iter().for_each(|id| schedule.generated(*id));
        step
    }

    #[test]
    fn prompts_in_pieces_share_steps_with_decoding() {
        let mut schedule = Schedule::new(LIMITS);
        let short = schedule.submit("a", 5);
        let long = schedule.submit("b", 300);
        assert_eq!(step(&mut schedule), Step { start: vec![short, long], read: vec![short, long], decode: vec![] });
        for pieces in [128, 44] {
            assert_eq!(schedule.piece(long), pieces);
            assert_eq!(step(&mut schedule), Step { start: vec![], read: vec![long], decode: vec![short] });
        }
        assert_eq!(step(&mut schedule).decode, [short, long]);
    }

    #[test]
    fn pieces_end_at_the_same_tokens_behind_a_cached_prefix() {
        let mut schedule = Schedule::new(LIMITS);
        let id = schedule.submit("a", 300);
        schedule.step();
        schedule.begin(id, 100);
        assert_eq!(schedule.piece(id), 28);
    }

    #[test]
    fn the_user_who_was_served_least_comes_first() {
        let mut schedule = Schedule::new(Limits { sequences: 1, ..LIMITS });
        let greedy: Vec<TaskId> = (0..3).map(|_| schedule.submit("greedy", 100)).collect();
        let modest = schedule.submit("modest", 10);
        let mut order: Vec<TaskId> = Vec::new();
        while schedule.counts() != (0, 0) {
            let started = step(&mut schedule).start;
            order.extend(&started);
            started.into_iter().for_each(|id| schedule.remove(id));
        }
        assert_eq!(order, [greedy[0], modest, greedy[1], greedy[2]]);
    }

    #[test]
    fn the_youngest_is_preempted_and_returns_first() {
        let mut schedule = Schedule::new(LIMITS);
        let ids: Vec<TaskId> = (0..6).map(|_| schedule.submit("a", 10)).collect();
        assert_eq!(step(&mut schedule).start, ids[..4]);
        assert_eq!(schedule.preempt(), Some(ids[3]));
        assert_eq!(schedule.preempt(), Some(ids[2]));
        assert_eq!(step(&mut schedule).start, ids[2..4]);
        schedule.remove(ids[0]);
        assert_eq!(step(&mut schedule).start, [ids[4]]);
    }

    #[test]
    fn the_only_task_is_not_preempted() {
        let mut schedule = Schedule::new(LIMITS);
        schedule.submit("a", 10);
        step(&mut schedule);
        assert_eq!(schedule.preempt(), None);
    }

    #[test]
    fn tasks_are_admitted_as_pages_last() {
        let mut schedule = Schedule::new(Limits { pages: 12, ..LIMITS });
        let ids: Vec<TaskId> = (0..3).map(|_| schedule.submit("a", 300)).collect();
        // Five pages each, and one to grow into.
        assert_eq!(step(&mut schedule).start, ids[..2]);
        schedule.remove(ids[1]);
        assert_eq!(step(&mut schedule).start, [ids[2]]);
    }

    /// Whatever comes and goes, every task ends, and no step exceeds its bounds.
    #[test]
    fn every_task_ends() {
        let mut random = 1u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let mut schedule = Schedule::new(Limits { pages: 40, ..LIMITS });
        let (mut left, mut submitted) = (HashMap::new(), 0);
        for turn in 0.. {
            assert!(turn < 20_000, "{} tasks are left", left.len());
            if submitted < 200 && next(3) == 0 {
                let user = ["a", "b", "c"][next(3) as usize];
                left.insert(schedule.submit(user, next(500) as u32 + 1), next(20) + 1);
                submitted += 1;
            }
            if next(10) == 0 {
                schedule.preempt();
            }
            let step = step(&mut schedule);
            assert!(schedule.counts().1 <= LIMITS.sequences);
            for id in step.decode {
                let tokens = left.get_mut(&id).expect("a task that was submitted and has not ended");
                *tokens -= 1;
                if *tokens == 0 {
                    left.remove(&id);
                    schedule.remove(id);
                }
            }
            if submitted == 200 && left.is_empty() {
                break;
            }
        }
        assert!(schedule.served.is_empty());
    }
}
