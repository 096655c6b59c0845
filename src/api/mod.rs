//! The three endpoints of Confluence REST v2 that this connector reads, one file a resource.
//!
//! This layer knows URLs, JSON shapes, paging links and error bodies; it knows nothing of Markdown or of deltas.

mod answer;
mod link;
mod pages;
mod spaces;

pub use pages::{ListError, Page, PageQuery, Sort, Unreadable};
pub use spaces::{Space, SpaceQuery};

use crate::error::Error;
use crate::source::Site;
use crate::transport::{Request, Response, Transport, TransportError};

/// Most items that Confluence gives in one answer (facts A1, A2).
pub const MAXIMUM_LIMIT: u32 = 250;

/// A site, and the way to it.
pub struct Client<'a, T> {
    site: Site,
    transport: &'a T,
}

/// One page of a listing.
#[derive(Debug)]
pub struct Listing<I> {
    /// In the order of the listing; may be short or empty although more follows.
    pub items: Vec<I>,
    /// Confluence's cursor to the rest, decoded; none at the end.
    pub next: Option<String>,
    /// The `Date` header of the answer.
    pub date: Option<String>,
    /// Bytes of the answer.
    pub bytes: usize,
}

impl<'a, T: Transport> Client<'a, T> {
    /// A client for a checked source.
    pub fn new(site: Site, transport: &'a T) -> Self {
        Self { site, transport }
    }

    /// The checked source.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The way to the outside.
    pub fn transport(&self) -> &'a T {
        self.transport
    }

    /// Sends a GET for `path_and_query` below the API root, and sorts out every answer that is not a 200.
    fn get(&self, path_and_query: &str) -> Result<Response, RequestError> {
        let url = format!("{}{path_and_query}", self.site.api_root());
        let request = Request { url: &url, authorization: self.site.authorization() };
        let response = self.transport.get(request).map_err(|error| match error {
            // The host judges by where the registration leads, so that is what has to change.
            TransportError::Denied(reason) => {
                Error::InvalidSource(format!("base_url: the host does not allow this request: {reason}"))
            }
            TransportError::Unavailable(reason) => {
                Error::Unavailable(format!("{}: {reason}", self.site.origin()))
            }
            TransportError::TooLarge(reason) => Error::TooLarge(reason),
        })?;
        if response.status == 200 { Ok(response) } else { Err(answer::refusal(&response)) }
    }
}

/// An [`Error`], with the two answers set apart that mean something else at each endpoint.
#[derive(Debug)]
enum RequestError {
    /// 400: a parameter is wrong. The text is Confluence's own.
    BadRequest(String),
    /// 404: the text is Confluence's own; none where the answer names nothing.
    Missing(Option<String>),
    Other(Error),
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A 404 is only believed where it names the thing by its id: Confluence gives an unnamed one for a rejected
/// credential (facts B4), and so does any proxy in between.
fn missing(what: &str, id: &str, named: Option<String>) -> Error {
    match named {
        Some(text) if text.contains(id) => Error::NotFound(format!("{what} {id}: Confluence says {text:?}")),
        _ => {
            rejected("Confluence answered 404 without naming anything, as it does for a rejected credential")
        }
    }
}

fn rejected(what: &str) -> Error {
    Error::Authentication(format!("{what}; check email, api_token and base_url"))
}
