//! The feed of changes: what was written and removed, in order, for pipelines that follow.
//!
//! A cursor stands for everything up to it. Of a document that changed again only the last change is told: whoever
//! follows from any cursor on ends up with what there is, and meets no change twice.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::documents::Document;
use super::sources;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::extract::Query;
use crate::service::problem::{Kind, Problem};
use crate::store::{StoredChange, WhatChanged};

/// Changes of an answer, unless fewer are asked for.
const CHANGES: u32 = 100;

const MOST_CHANGES: u32 = 1_000;

/// Longest wait for a change, in seconds; less than a request has.
const LONGEST_WAIT: u64 = 25;

/// Bytes of content of an answer, about: no more changes are put into it then.
const CONTENT: usize = 8 * 1024 * 1024;

/// How often a stream without changes sees whether it may go on.
const LOOK: Duration = Duration::from_secs(60);

/// A change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "change", rename_all = "lowercase")]
pub(crate) enum Change {
    /// The document was written, renamed or moved; this is what it is now.
    Upsert {
        /// Stands for this change and all before it.
        cursor: String,
        document: Box<Document>,
    },
    /// The document is gone.
    Removal {
        /// Stands for this change and all before it.
        cursor: String,
        source_id: String,
        /// Id of the page in Confluence.
        id: String,
    },
}

/// An event of the stream of changes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written as text")]
pub(crate) struct ChangeEvent {
    event: ChangeEventName,
    /// The cursor of the change.
    id: String,
    /// A `Change` in JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes what is written as text")]
pub(crate) enum ChangeEventName {
    Upsert,
    Removal,
}

/// Changes in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changes {
    pub(crate) changes: Vec<Change>,
    /// Stands for all changes up to here: goes on after them, as `after`. There is always one.
    pub(crate) cursor: Option<String>,
    /// Whether there are more already.
    pub(crate) more: bool,
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// Only what came after this cursor; without it, from the beginning: every document that there is.
    pub(crate) after: Option<String>,
    /// Only of this source.
    pub(crate) source_id: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(crate) limit: Option<u32>,
    /// Seconds to wait for a change where there is none yet.
    #[param(minimum = 0, maximum = 25, default = 0)]
    pub(crate) wait: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Only what came after this cursor; without it, from the beginning. `Last-Event-ID` wins over it.
    pub(crate) after: Option<String>,
    /// Only of this source.
    pub(crate) source_id: Option<String>,
}

/// Whose changes are read, and where.
#[derive(Clone)]
struct Reader {
    service: Service,
    access: Access,
    source_id: Option<String>,
    purpose: String,
    after: u64,
}

impl Reader {
    async fn new(
        service: Service,
        access: Access,
        source_id: Option<String>,
        after: Option<&str>,
    ) -> Result<Self, Problem> {
        let source_id = source_id.filter(|id| !id.is_empty());
        if let Some(id) = &source_id {
            sources::owned(&service, &access, id).await?;
        }
        let purpose = format!("changes of {}", access.tenant_id().unwrap_or_default());
        let after = match after.filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => service.cursors.open(&purpose, cursor)?,
            None => 0,
        };
        // Numbers after a backup are given out again: what they stood for is not what they stand for now.
        if after > service.readers.read(access.tenant_id(), |store| store.last_change()).await? {
            return Err(Problem::conflict(
                "the cursor is ahead of the store, as it is when a backup was put back: leave it out to begin anew",
            ));
        }
        Ok(Self { service, access, source_id, purpose, after })
    }

    /// The next changes, and whether there are more already.
    async fn next(&mut self, limit: u32) -> Result<(Vec<Change>, bool), Problem> {
        let tenant_id = self.access.tenant_id().map(str::to_owned);
        let (source_id, after) = (self.source_id.clone(), self.after);
        let found = self.service.readers.read(self.access.tenant_id(), move |store| {
            let mut size = 0;
            let mut found: Vec<StoredChange> = Vec::new();
            let mut more = false;
            let mut take = |change: StoredChange| {
                if found.len() == limit as usize || size > CONTENT {
                    more = true;
                    return false;
                }
                if let WhatChanged::Written(document) = &change.what {
                    size += document.content.len();
                }
                found.push(change);
                true
            };
            match (&source_id, &tenant_id) {
                (None, None) => store.changes(after, None, take)?,
                (Some(id), _) => store.changes_of(std::slice::from_ref(id), None, after, limit + 1, take)?,
                (None, Some(tenant_id)) => {
                    let sources = store.source_ids(Some(tenant_id))?;
                    store.changes_of(&sources, Some(tenant_id), after, limit + 1, &mut take)?;
                }
            }
            Ok((found, more))
        });
        let (found, more) = found.await?;
        if let Some(last) = found.last() {
            self.after = last.number;
        }
        let changes = found.into_iter().map(|change| {
            let cursor = self.service.cursors.seal(&self.purpose, &change.number);
            match change.what {
                WhatChanged::Written(document) => {
                    Change::Upsert { cursor, document: Box::new(document.into()) }
                }
                WhatChanged::Removed { source_id, id } => Change::Removal { cursor, source_id, id },
            }
        });
        Ok((changes.collect(), more))
    }

    fn cursor(&self) -> String {
        self.service.cursors.seal(&self.purpose, &self.after)
    }

    /// Whether the key that began it still lets in.
    async fn may_go_on(&self) -> bool {
        let (id, tenant_id) = (self.access.key.id.clone(), self.access.key.tenant_id.clone());
        let found = self.service.readers.read(self.access.tenant_id(), move |store| {
            Ok(store.keys(tenant_id.as_deref())?.iter().any(|key| key.id == id))
        });
        found.await.unwrap_or(false)
    }
}

/// Reads changes
///
/// In order, with the content of what was written. Save the `cursor` with what came of the changes, and go on with it as
/// `after`: no change is left out and none comes twice. `wait` makes it a long poll.
#[utoipa::path(get, path = "/changes", operation_id = "list_changes", tag = "changes", params(ChangesQuery),
    responses((status = 200, description = "Changes in order.", body = Changes)))]
pub(crate) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(query): Query<ChangesQuery>,
) -> Result<axum::Json<Changes>, Problem> {
    let limit = query.limit.unwrap_or(CHANGES);
    if !(1..=MOST_CHANGES).contains(&limit) {
        return Err(Problem::invalid(format!("limit is {limit}: write 1 to {MOST_CHANGES}")));
    }
    let wait = query.wait.unwrap_or(0);
    if wait > LONGEST_WAIT {
        return Err(Problem::invalid(format!("wait is {wait}: write 0 to {LONGEST_WAIT} seconds")));
    }
    let until = Instant::now() + Duration::from_secs(wait);
    let mut bell = service.feed.follow(access.tenant_id());
    let stopping = service.stopping.clone();
    let mut reader = Reader::new(service, access, query.source_id, query.after.as_deref()).await?;
    loop {
        let (changes, more) = reader.next(limit).await?;
        let over = Instant::now() >= until || stopping.is_cancelled();
        if !changes.is_empty() || over {
            return Ok(axum::Json(Changes { changes, cursor: Some(reader.cursor()), more }));
        }
        tokio::select! {
            _ = bell.changed() => {}
            () = tokio::time::sleep_until(until) => {}
            () = stopping.cancelled() => {}
        }
    }
}

/// Follows changes
///
/// Server-sent events: `upsert` and `removal`, each with its cursor as its id, so that a client that comes back goes on
/// where it was.
#[utoipa::path(get, path = "/changes/stream", operation_id = "follow_changes", tag = "changes", params(StreamQuery,
        ("last-event-id" = Option<String>, Header, description = "The cursor of the last event that was seen.")),
    responses((status = 200, description = "Events.", body = ChangeEvent, content_type = "text/event-stream")))]
pub(crate) async fn stream(
    State(service): State<Service>,
    access: Access,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let last = match headers.get("last-event-id") {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, Kind::InvalidRequest, "last-event-id is no cursor")
        })?),
    };
    let bell = service.feed.follow(access.tenant_id());
    let stopping = service.stopping.clone();
    let after = last.or(query.after.as_deref());
    let reader = Reader::new(service, access, query.source_id, after).await?;
    let events = futures::stream::unfold(Some((reader, bell)), async |state| {
        let (mut reader, mut bell) = state?;
        loop {
            if !reader.may_go_on().await {
                return None;
            }
            match reader.next(CHANGES).await {
                Ok((changes, _)) if !changes.is_empty() => return Some((changes, Some((reader, bell)))),
                Ok(_) => {}
                // The client comes back with the last cursor.
                Err(_) => return None,
            }
            tokio::time::timeout(LOOK, bell.changed()).await.ok();
        }
    });
    let events = events.flat_map(futures::stream::iter).map(|change| {
        let (name, cursor) = match &change {
            Change::Upsert { cursor, .. } => ("upsert", cursor.clone()),
            Change::Removal { cursor, .. } => ("removal", cursor.clone()),
        };
        Ok(super::runs::event(name, &change).id(cursor))
    });
    let events = events.take_until(stopping.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(20))))
}
