//! Why a call failed: the contract's `error` variant as a Rust type.

/// What a caller can act on. The texts are for people (what happened, to what, what to do) and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The registration document is wrong.
    #[error("invalid source: {0}")]
    InvalidSource(String),
    /// The credential was rejected: 401, 403 while validating, or a 404 that names nothing (facts B4).
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// The credential is good, but not for this.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Confluence names the thing that is missing, in the trash or archived.
    #[error("not found: {0}")]
    NotFound(String),
    /// 429; with the seconds that Confluence asked for, if it named them.
    #[error("rate limited{}", match .0 { Some(seconds) => format!(" for {seconds} s"), None => String::new() })]
    RateLimited(Option<u64>),
    /// Transient: 5xx, time-outs, resets, cut bodies.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The answer is over a size limit.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The answer is not what the API promises.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// The cursor is not (or no longer) good; the listing has to start over.
    #[error("the cursor is stale: start the listing over")]
    StaleCursor,
}
