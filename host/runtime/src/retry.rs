//! When a request is sent again, and how long that takes: transient faults only, GET only.

use std::time::Duration;

use rand::Rng as _;

/// How requests are repeated. The defaults follow Atlassian's advice (facts D1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Times that a request is sent at most when it meets 5xx, time-outs, resets or cut bodies. Default 4.
    pub attempts: u32,
    /// Times that a request is sent at most when it meets 429, or 503 with a Retry-After. Default 12.
    pub throttled_attempts: u32,
    /// First wait of the exponential backoff. Default 0.5 s.
    pub backoff: Duration,
    /// Longest wait of the exponential backoff. Default 30 s.
    pub longest_backoff: Duration,
    /// A Retry-After beyond this is not waited for: the call ends with `rate-limited`. Default 5 minutes.
    pub longest_wait: Duration,
    /// All waits of one call together; beyond it the call ends with what came last. Default 15 minutes.
    pub total_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            throttled_attempts: 12,
            backoff: Duration::from_millis(500),
            longest_backoff: Duration::from_secs(30),
            longest_wait: Duration::from_secs(300),
            total_wait: Duration::from_secs(900),
        }
    }
}

/// What a Retry-After is exceeded by, so that tenants do not all come back in the same instant.
const LONGEST_JITTER: Duration = Duration::from_secs(2);

impl RetryPolicy {
    /// The wait after the `failures`-th failure in a row (from 1): doubling, between half and all of it.
    pub(crate) fn backoff_after(&self, failures: u32) -> Duration {
        let doubled =
            self.backoff.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.longest_backoff).mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// A Retry-After is a minimum: jitter comes on top, up to a tenth of it.
    pub(crate) fn with_jitter(&self, wait: Duration) -> Duration {
        wait + (wait / 10).min(LONGEST_JITTER).mul_f64(rand::rng().random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let policy = RetryPolicy::default();
        for (failures, full) in
            [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (40, 30.0), (u32::MAX, 30.0)]
        {
            for _ in 0..50 {
                let wait = policy.backoff_after(failures).as_secs_f64();
                assert!((full / 2.0..=full).contains(&wait), "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn a_retry_after_is_a_minimum() {
        let policy = RetryPolicy::default();
        for seconds in [1, 10, 300] {
            for _ in 0..50 {
                let asked = Duration::from_secs(seconds);
                let wait = policy.with_jitter(asked);
                assert!(wait >= asked && wait <= asked + LONGEST_JITTER);
            }
        }
    }
}
