//! `GET /wiki/api/v2/spaces/{id}/pages` and `GET /wiki/api/v2/pages/{id}` (facts A2 to A5).

use std::borrow::Cow;

use serde::Deserialize;

use super::answer::not_promised;
use super::link::{Links, push_parameter};
use super::{Client, Listing, RequestError, missing};
use crate::delta::Timestamp;
use crate::error::Error;
use crate::transport::{Response, Transport};

/// A page as Confluence gives it, as far as this connector reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Digits.
    pub id: String,
    /// Page title.
    pub title: String,
    /// Id of the space, digits.
    pub space_id: Option<String>,
    /// When the latest version was made.
    pub modified_at: Timestamp,
    /// When the page was made.
    pub created_at: Option<Timestamp>,
    /// Number of the latest version.
    pub version_number: u32,
    /// Storage format; none where the answer holds no body.
    pub storage: Option<String>,
    /// Path of the page below `/wiki`.
    pub web_path: Option<String>,
    /// `current`, or what else the page is.
    pub status: String,
}

/// The order of a page listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// By id: a walk that edits do not disturb.
    Id,
    /// By modification, newest first.
    NewestFirst,
}

/// Which stretch of a space's current pages to list.
#[derive(Debug, Clone, Copy)]
pub struct PageQuery<'a> {
    /// Id of the space.
    pub space_id: &'a str,
    /// Order.
    pub sort: Sort,
    /// Whether the bodies come along.
    pub bodies: bool,
    /// 1 to 250.
    pub limit: u32,
    /// CQL predicate; a server may ignore it.
    pub predicate: Option<&'a str>,
    /// Confluence's cursor.
    pub after: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Vec<Shape<'a>>,
    #[serde(borrow, rename = "_links", default)]
    links: Links<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    space_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    version: Option<Version<'a>>,
    #[serde(borrow, default)]
    body: Option<Body<'a>>,
    #[serde(borrow, rename = "_links", default)]
    links: Option<PageLinks<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version<'a> {
    #[serde(borrow, default)]
    created_at: Option<Cow<'a, str>>,
    #[serde(default)]
    number: Option<u32>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    storage: Option<Storage<'a>>,
}

#[derive(Deserialize)]
struct Storage<'a> {
    #[serde(borrow, default)]
    value: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PageLinks<'a> {
    #[serde(borrow, default)]
    webui: Option<Cow<'a, str>>,
}

impl Shape<'_> {
    fn into_page(self) -> Result<Page, Unreadable> {
        let version = self.version.as_ref();
        let modified_at =
            version.and_then(|version| version.created_at.as_deref()).and_then(Timestamp::parse);
        let (Some(modified_at), Some(version_number)) =
            (modified_at, version.and_then(|version| version.number))
        else {
            return Err(Unreadable {
                cause: Error::Malformed(format!("page {} has no readable version", self.id)),
                id: self.id.into_owned(),
                title: self.title.map(Cow::into_owned),
            });
        };
        Ok(Page {
            modified_at,
            version_number,
            id: self.id.into_owned(),
            title: self.title.unwrap_or_default().into_owned(),
            space_id: self.space_id.map(Cow::into_owned),
            created_at: self.created_at.as_deref().and_then(Timestamp::parse),
            storage: self
                .body
                .and_then(|body| body.storage)
                .and_then(|storage| storage.value)
                .map(Cow::into_owned),
            web_path: self
                .links
                .and_then(|links| links.webui)
                .filter(|path| path.starts_with('/'))
                .map(Cow::into_owned),
            status: self.status.map_or_else(|| "current".to_owned(), Cow::into_owned),
        })
    }
}

/// An item of a listing that lacks what makes it a page; the rest of the listing is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Digits.
    pub id: String,
    /// Page title where there is one.
    pub title: Option<String>,
    /// What is wrong.
    pub cause: Error,
}

impl<T: Transport> Client<'_, T> {
    /// Lists one stretch of the current pages of a space.
    ///
    /// # Errors
    /// A 400 with a cursor is [`Error::StaleCursor`]; one that a predicate may have caused is
    /// [`ListError::PredicateRefused`]. A 404 that names the space is [`Error::NotFound`].
    pub fn list_pages(&self, query: PageQuery<'_>) -> Result<Listing<Result<Page, Unreadable>>, ListError> {
        let mut path = format!("/wiki/api/v2/spaces/{}/pages?status=current", query.space_id);
        push_parameter(
            &mut path,
            "sort",
            match query.sort {
                Sort::Id => "id",
                Sort::NewestFirst => "-modified-date",
            },
        );
        push_parameter(&mut path, "limit", &query.limit.to_string());
        if query.bodies {
            push_parameter(&mut path, "body-format", "storage");
        }
        for (name, value) in [("cql", query.predicate), ("cursor", query.after)] {
            if let Some(value) = value {
                push_parameter(&mut path, name, value);
            }
        }
        let response = self.get(&path).map_err(|error| match error {
            RequestError::BadRequest(_) if query.predicate.is_some() => ListError::PredicateRefused,
            RequestError::BadRequest(_) if query.after.is_some() => Error::StaleCursor.into(),
            RequestError::BadRequest(text) => Error::Malformed(format!(
                "Confluence refused to list the pages of space {} ({text})",
                query.space_id
            ))
            .into(),
            RequestError::Missing(named) => missing("space", query.space_id, named).into(),
            RequestError::Other(error) => error.into(),
        })?;
        let answer: Answer<'_> = parse(&response)?;
        let next = answer.links.next_cursor(&self.origins())?;
        let items = answer.results.into_iter().map(Shape::into_page).collect();
        let bytes = response.body.len();
        Ok(Listing { items, next, bytes, date: response.date })
    }

    /// Reads one page with its body, whatever its status is.
    ///
    /// # Errors
    /// [`Error::NotFound`] only for a 404 that names the page by its id.
    pub fn get_page(&self, id: &str) -> Result<Page, Error> {
        let response = self.get(&format!("/wiki/api/v2/pages/{id}?body-format=storage")).map_err(
            |error| match error {
                RequestError::BadRequest(text) => {
                    Error::Malformed(format!("Confluence refused to read page {id} ({text})"))
                }
                RequestError::Missing(named) => missing("page", id, named),
                RequestError::Other(error) => error,
            },
        )?;
        let page = parse::<Shape<'_>>(&response)?.into_page().map_err(|unreadable| unreadable.cause)?;
        if page.id == id {
            Ok(page)
        } else {
            Err(Error::Malformed(format!(
                "Confluence answered with page {} to a request for page {id}",
                page.id
            )))
        }
    }
}

fn parse<'a, S: Deserialize<'a>>(response: &'a Response) -> Result<S, Error> {
    serde_json::from_slice(&response.body).map_err(|error| not_promised(&response.body, &error))
}

/// Why a page listing failed.
#[derive(Debug)]
pub enum ListError {
    /// 400 to a listing that carried a predicate: ask once more without it.
    PredicateRefused,
    /// Anything else.
    Failed(Error),
}

impl From<Error> for ListError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
