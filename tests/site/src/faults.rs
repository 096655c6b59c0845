//! What can be made to go wrong.

use std::time::{Duration, SystemTime};

/// Which requests an injected fault is for.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Every request.
    Any,
    /// Requests whose path and query contain this text.
    Path(String),
    /// Requests that ask for page bodies (`body-format=storage`).
    WithBodies,
    /// The request of this number, counted from 1 since the start or the last [`forget`](crate::Site::forget).
    Nth(u64),
}

/// What happens to a request instead of, or along with, its normal answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// 429.
    RateLimited(RetryAfter),
    /// 503 with an HTML body.
    Unavailable(RetryAfter),
    /// This status with an HTML body, as proxies give it.
    Status(u16),
    /// This status with this JSON text.
    Json(u16, String),
    /// The connection is closed without an answer.
    Reset,
    /// The normal answer, but its `Content-Length` promises more than is sent before the connection closes.
    Truncate,
    /// The normal answer, this much later.
    Stall(Duration),
    /// The normal answer with a pause in the middle of its body.
    SlowBody(Duration),
    /// 200 that is not JSON.
    Garbage,
    /// The 404 that Confluence gives for a rejected credential.
    GenericNotFound,
    /// 401 with an HTML body.
    Unauthorized,
    /// The normal answer with `X-RateLimit-NearLimit: true`.
    NearLimit,
    /// 302 to this address.
    Redirect(String),
}

/// The `Retry-After` header of an answer.
#[derive(Debug, Clone)]
pub enum RetryAfter {
    /// No such header.
    Absent,
    /// This many seconds; a fraction is written as such.
    Seconds(f64),
    /// This very text.
    Raw(String),
    /// This long from now, as an HTTP date (which has whole seconds).
    Date(Duration),
}

impl RetryAfter {
    /// The header's text, and how long from `now` (the server's clock) it asks callers to wait.
    pub(crate) fn header(&self, now: SystemTime) -> (Option<String>, Option<Duration>) {
        let text = match self {
            RetryAfter::Absent => return (None, None),
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Raw(text) => text.clone(),
            RetryAfter::Date(ahead) => {
                httpdate::fmt_http_date(now.checked_add(*ahead).unwrap_or(SystemTime::UNIX_EPOCH))
            }
        };
        let seconds =
            text.trim().parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let wait = seconds.or_else(|| httpdate::parse_http_date(text.trim()).ok()?.duration_since(now).ok());
        (Some(text), wait)
    }
}

/// The faults that wait for their requests; the one injected first wins.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(Fault, usize, Condition)>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault, times: usize, condition: Condition) {
        if times > 0 {
            self.0.push((fault, times, condition));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn take(&mut self, number: u64, path_and_query: &str) -> Option<Fault> {
        let at = self.0.iter().position(|(_, _, condition)| match condition {
            Condition::Any => true,
            Condition::Path(part) => path_and_query.contains(part.as_str()),
            Condition::WithBodies => path_and_query.contains("body-format=storage"),
            Condition::Nth(wanted) => *wanted == number,
        })?;
        let (fault, left, _) = self.0.get_mut(at)?;
        let fault = fault.clone();
        if *left != usize::MAX {
            *left -= 1;
        }
        if *left == 0 {
            self.0.remove(at);
        }
        Some(fault)
    }
}
