//! Allowances of each user: requests and tokens per minute, and log-probabilities of steered tokens per day. A token is
//! steered if the request limits by itself which tokens may come: by a logit bias or a constraint.

use super::error::{Failure, Result};
use crate::serve::lock;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Limits of each user; `None` is no limit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Rates {
    pub(super) requests_per_minute: Option<u32>,
    pub(super) tokens_per_minute: Option<u32>,
    /// Steered tokens per day with log-probabilities.
    pub(super) steered_per_day: Option<u32>,
}

/// A token bucket: it fills evenly and holds at most the allowance of one period.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(most: u32, now: Instant) -> Self {
        Self { left: most.into(), at: now }
    }

    fn fill(&mut self, most: u32, period: Duration, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / period.as_secs_f64() * f64::from(most);
        (self.left, self.at) = ((self.left + gained).min(most.into()), now);
    }

    /// Returns the time until `amount` is available, if it is not yet.
    fn wait(&self, amount: f64, most: u32, period: Duration) -> Option<Duration> {
        let missing = amount - self.left;
        let seconds = missing / f64::from(most).max(1e-9) * period.as_secs_f64();
        (missing > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(period))
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
struct User {
    requests: Bucket,
    tokens: Bucket,
    steered: Bucket,
}

/// The allowances of all users. A user is a key of the server, so the map holds at most one entry for each key.
#[derive(Debug)]
pub(super) struct Guard {
    rates: Rates,
    users: Mutex<HashMap<String, User>>,
}

impl Guard {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, users: Mutex::default() }
    }

    /// Calls `take` with the allowances of a user, filled up to `now`.
    fn with<T>(&self, user: &str, now: Instant, take: impl FnOnce(&Rates, &mut User) -> T) -> T {
        let rates = self.rates;
        let of = |most: Option<u32>| Bucket::new(most.unwrap_or(0), now);
        let mut users = lock(&self.users);
        let user = users.entry(user.into()).or_insert_with(|| User {
            requests: of(rates.requests_per_minute),
            tokens: of(rates.tokens_per_minute),
            steered: of(rates.steered_per_day),
        });
        user.requests.fill(rates.requests_per_minute.unwrap_or(0), MINUTE, now);
        user.tokens.fill(rates.tokens_per_minute.unwrap_or(0), MINUTE, now);
        user.steered.fill(rates.steered_per_day.unwrap_or(0), DAY, now);
        take(&rates, user)
    }

    /// Admits a request of a user, or says how long to wait. Tokens are charged when an answer has ended, so the balance of a
    /// user may fall below zero; requests are then refused until it has filled up again.
    pub(super) fn admit(&self, user: &str, now: Instant) -> Result<()> {
        let limited = |what: &str, most: u32, wait: Duration| {
            let message = format!("more than {most} {what} per minute: try again later");
            Failure::new(StatusCode::TOO_MANY_REQUESTS, message).coded("rate_limit_exceeded").after(wait)
        };
        self.with(user, now, |rates, user| {
            if let Some(most) = rates.tokens_per_minute
                && let Some(wait) = user.tokens.wait(1.0, most, MINUTE)
            {
                return Err(limited("tokens", most, wait));
            }
            let Some(most) = rates.requests_per_minute else { return Ok(()) };
            match user.requests.wait(1.0, most, MINUTE) {
                Some(wait) => Err(limited("requests", most, wait)),
                None => {
                    user.requests.left -= 1.0;
                    Ok(())
                }
            }
        })
    }

    /// Charges the tokens of a prompt and its answer.
    pub(super) fn charge(&self, user: &str, tokens: u64, now: Instant) {
        if self.rates.tokens_per_minute.is_some() {
            self.with(user, now, |_, user| user.tokens.left -= tokens as f64);
        }
    }

    /// Takes `tokens` log-probabilities of steered tokens from what a user has left.
    ///
    /// # Errors
    /// A failure that says when the user has so many again; nothing is taken then.
    pub(super) fn steer(&self, user: &str, tokens: u64, now: Instant) -> Result<()> {
        let Some(most) = self.rates.steered_per_day else { return Ok(()) };
        let limited = |wait: Option<Duration>| {
            let message = format!(
                "log-probabilities beside logit_bias or a constraint are limited to {most} tokens per day and key, and this \
                 request may have {tokens}: lower max_tokens, or leave logprobs out"
            );
            let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, message).coded("steered_logprobs_exceeded");
            failure.after(wait.unwrap_or(DAY))
        };
        self.with(user, now, |_, user| match user.steered.wait(tokens as f64, most, DAY) {
            Some(wait) => Err(limited((tokens <= u64::from(most)).then_some(wait))),
            None => {
                user.steered.left -= tokens as f64;
                Ok(())
            }
        })
    }

    /// Gives back what [`steer`](Self::steer) took for a request that was refused afterwards.
    pub(super) fn give_back(&self, user: &str, tokens: u64, now: Instant) {
        if let Some(most) = self.rates.steered_per_day {
            self.with(user, now, |_, user| user.steered.left = (user.steered.left + tokens as f64).min(most.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_limited_per_user_and_fill_up_again() {
        let guard = Guard::new(Rates { requests_per_minute: Some(2), ..Rates::default() });
        let now = Instant::now();
        let admit = |user: &str, seconds: u64| guard.admit(user, now + Duration::from_secs(seconds)).is_ok();
        assert_eq!([admit("a", 0), admit("a", 0), admit("a", 1), admit("b", 1)], [true, true, false, true]);
        assert_eq!(
            [admit("a", 31), admit("a", 32), admit("a", 600), admit("a", 600), admit("a", 600)],
            [true, false, true, true, false]
        );
    }

    #[test]
    fn tokens_are_made_up_for() {
        let guard = Guard::new(Rates { tokens_per_minute: Some(60), ..Rates::default() });
        let now = Instant::now();
        assert!(guard.admit("a", now).is_ok());
        guard.charge("a", 90, now);
        assert!(guard.admit("a", now + Duration::from_secs(30)).is_err());
        assert!(guard.admit("a", now + Duration::from_secs(32)).is_ok());
    }

    #[test]
    fn steered_tokens_are_taken_whole_or_not_at_all() {
        let guard = Guard::new(Rates { steered_per_day: Some(10), ..Rates::default() });
        let now = Instant::now();
        assert!(guard.steer("a", 11, now).is_err() && guard.steer("a", 8, now).is_ok());
        assert!(guard.steer("a", 3, now).is_err() && guard.steer("a", 2, now).is_ok());
        assert!(guard.steer("b", 10, now).is_ok());
        assert!(guard.steer("a", 5, now + DAY / 2).is_ok());
    }

    #[test]
    fn steered_tokens_of_a_refused_request_are_given_back() {
        let guard = Guard::new(Rates { steered_per_day: Some(10), ..Rates::default() });
        let now = Instant::now();
        assert!(guard.steer("a", 8, now).is_ok() && guard.steer("a", 8, now).is_err());
        guard.give_back("a", 8, now);
        assert!(guard.steer("a", 8, now).is_ok());
        // A day later the allowance is full, and no more than that.
        guard.give_back("a", 8, now + DAY);
        assert!(guard.steer("a", 10, now + DAY).is_ok() && guard.steer("a", 1, now + DAY).is_err());
    }
}
