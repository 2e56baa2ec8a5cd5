//! Serving many requests from one model: [`Engine`], and its HTTP interface [`http`].
//!
//! [`Schedule`](schedule::Schedule) decides who runs, [`Prefixes`](prefix::Prefixes) finds what is in the cache already;
//! both are plain data. The engine's one thread owns the sessions, and steps them together.

mod engine;
pub mod http;
pub mod metrics;
pub mod prefix;
mod request;
pub mod schedule;
mod worker;

pub use engine::{Engine, Options};
pub use request::{Answer, Event, Refused, Request};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data stay valid if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
