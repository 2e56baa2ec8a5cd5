//! The time of day in answers and logs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970; 0 if the clock stands before that.
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    since_1970().as_secs()
}
