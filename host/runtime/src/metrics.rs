//! Counters and histograms through the `metrics` facade: whatever exporter the embedder installs gets them; without one
//! they cost next to nothing. Labels are few and bounded; none names a tenant.

use std::time::Duration;

use http::StatusCode;
use metrics::{counter, gauge, histogram};

use crate::error::CallError;

/// One attempt of a request, by the status of its answer.
pub(crate) fn request(status: Option<StatusCode>) {
    let status = status.map_or_else(|| "none".to_owned(), |status| status.as_u16().to_string());
    counter!("kai_http_requests_total", "status" => status).increment(1);
}

/// A request is sent once more.
pub(crate) fn retry() {
    counter!("kai_http_retries_total").increment(1);
}

/// A site asked to be left alone for `wait`.
pub(crate) fn throttled(wait: Duration) {
    counter!("kai_http_throttled_total").increment(1);
    histogram!("kai_http_throttled_seconds").record(wait.as_secs_f64());
}

/// Counts a request in flight while it lives.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn begin() -> Self {
        gauge!("kai_http_requests_in_flight").increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("kai_http_requests_in_flight").decrement(1.0);
    }
}

/// A call came to its end.
pub(crate) fn call(name: &'static str, took: Duration, result: Result<(), &CallError>) {
    let outcome = match result {
        Ok(()) => "ok",
        Err(CallError::Connector(_)) => "error",
        Err(CallError::Limit(limit)) => {
            counter!("kai_limits_hit_total", "limit" => limit.name()).increment(1);
            "limit"
        }
        Err(CallError::Crashed(_)) => "crash",
        Err(CallError::Busy | CallError::ShuttingDown) => "refused",
        Err(CallError::Host(_)) => "host",
    };
    histogram!("kai_call_seconds", "call" => name, "outcome" => outcome).record(took.as_secs_f64());
}

/// The most memory that a guest had.
pub(crate) fn memory_peak(bytes: usize) {
    histogram!("kai_guest_memory_bytes").record(bytes as f64);
}
