//! `GET /wiki/api/v2/spaces` (facts A1).

use std::borrow::Cow;

use serde::Deserialize;

use super::answer::not_promised;
use super::link::{Links, push_parameter};
use super::{Client, Listing, RequestError, rejected};
use crate::error::Error;
use crate::transport::Transport;

/// A space as Confluence lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Digits.
    pub id: String,
    /// Space key.
    pub key: String,
    /// Space name; the key where there is none.
    pub name: String,
    /// What the addresses of its pages may name it by instead of the key (facts A1).
    pub alias: Option<String>,
}

/// Which spaces to list. Only current ones are, in the order of their ids.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpaceQuery<'a> {
    /// The one with this key (Confluence compares without case).
    pub key: Option<&'a str>,
    /// The one with this id.
    pub id: Option<&'a str>,
    /// 1 to 250.
    pub limit: u32,
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
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    current_active_alias: Option<Cow<'a, str>>,
}

impl<T: Transport> Client<'_, T> {
    /// Lists one page of the current spaces that the account may see.
    ///
    /// # Errors
    /// A 404 of any kind is [`Error::Authentication`]: this listing exists on every site. A 400 with a cursor is
    /// [`Error::StaleCursor`].
    pub fn list_spaces(&self, query: SpaceQuery<'_>) -> Result<Listing<Space>, Error> {
        let mut path = "/wiki/api/v2/spaces?status=current&sort=id".to_owned();
        push_parameter(&mut path, "limit", &query.limit.to_string());
        for (name, value) in [("keys", query.key), ("ids", query.id), ("cursor", query.after)] {
            if let Some(value) = value {
                push_parameter(&mut path, name, value);
            }
        }
        let response = self.get(&path).map_err(|error| match error {
            RequestError::BadRequest(_) if query.after.is_some() => Error::StaleCursor,
            RequestError::BadRequest(text) => Error::Malformed(format!("Confluence refused the list of spaces ({text})")),
            RequestError::Missing(_) => rejected(
                "Confluence answered 404 to the list of spaces, as it does for a rejected credential or where there is no Confluence Cloud",
            ),
            RequestError::Other(error) => error,
        })?;
        let answer: Answer<'_> =
            serde_json::from_slice(&response.body).map_err(|error| not_promised(&response.body, &error))?;
        let next = answer.links.next_cursor(&self.origins())?;
        let items = answer
            .results
            .into_iter()
            .map(|shape| {
                let key = shape.key.into_owned();
                let name =
                    shape.name.filter(|name| !name.is_empty()).map_or_else(|| key.clone(), Cow::into_owned);
                let alias = shape.current_active_alias.map(Cow::into_owned);
                Space { id: shape.id.into_owned(), key, name, alias }
            })
            .collect();
        let bytes = response.body.len();
        Ok(Listing { items, next, bytes, date: response.date })
    }

    /// Origins that a `next` link may name: the API's and the workspace's own.
    pub(super) fn origins(&self) -> [&str; 2] {
        [self.site().origin(), self.site().base_url()]
    }
}
