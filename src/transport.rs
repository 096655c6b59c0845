//! The connector's only view of the outside: one answer to one request, and the time.
//!
//! Everything else in the crate is plain Rust over this trait, so that every rule can be tested natively.

use crate::delta::Timestamp;

/// A GET request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Absolute, percent-encoded.
    pub url: &'a str,
    /// Value of the `Authorization` header.
    pub authorization: &'a str,
}

/// An answer with its whole body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Value of the `Date` header: the server's clock.
    pub date: Option<String>,
    /// Value of the `Retry-After` header.
    pub retry_after: Option<String>,
    /// The decoded body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The host does not allow the request (scheme, origin, path or address).
    #[error("the host does not allow this request: {0}")]
    Denied(String),
    /// No connection, a time-out, a reset, a cut body.
    #[error("{0}")]
    Unavailable(String),
    /// The body is over the limit of the host or of this connector.
    #[error("{0}")]
    TooLarge(String),
}

/// What the connector asks of the outside.
pub trait Transport {
    /// Sends the request and reads the answer to its end.
    ///
    /// # Errors
    /// Whatever keeps a whole answer from arriving; a status of any kind is an answer.
    fn get(&self, request: Request<'_>) -> Result<Response, TransportError>;

    /// The wall clock; used only where a server sends no `Date`.
    fn now(&self) -> Timestamp;
}
